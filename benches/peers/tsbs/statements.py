"""TSBS' queries as SQL. One text for all engines where their dialects agree; what each does its own way is a method.

Where TSBS' own text is off, the meaning it states is asked for instead: a truck broke down where its status was 0 in more
than half of the rows of ten minutes (TSBS counts all rows that have a status), and hours are counted with their fraction
(TSBS divides integers). A drive whose end is not in the data has no duration. Rows without a velocity or status do not
count.
"""

from __future__ import annotations

from datetime import UTC, datetime

from tsbs.questions import Question

MINUTES = {"minute": 1, "ten": 10, "hour": 60, "day": 1440}


class Dialect:
    """PostgreSQL's words, with a column of time called `time`."""

    host = "hostname"
    truck = "name"
    time = "time"
    cpu = "cpu"
    readings = "readings"
    diagnostics = "diagnostics"
    trucks = "trucks"
    trivial = "SELECT 1"

    def statement(self, question: Question) -> str:
        return getattr(self, question.query.replace("-", "_"))(question)

    # What dialects differ in.

    def bucket(self, unit: str, column: str) -> str:
        """The beginning of the minute, ten minutes, hour or day."""
        raise NotImplementedError

    def newest(self, table: str, key: str, columns: list[str], condition: str = "true") -> str:
        """A query of the newest row of each key: key, columns."""
        raise NotImplementedError

    def seconds(self, start: str, stop: str) -> str:
        raise NotImplementedError

    def nullable(self, value: str) -> str:
        """A value whose neighbour beyond the first row is to be NULL."""
        return value

    def flag(self, condition: str) -> str:
        """A condition as a value that windows take."""
        return condition

    def on(self, flag: str) -> str:
        """A flag as a condition."""
        return flag

    def instant(self, microseconds: int) -> str:
        return f"'{datetime.fromtimestamp(microseconds / 1e6, UTC):%Y-%m-%d %H:%M:%S}'"

    def window(self, q: Question) -> str:
        return f"{self.time} >= {self.instant(q.start_us)} AND {self.time} < {self.instant(q.end_us)}"

    # cpu-only

    def hosts(self, q: Question) -> str:
        names = ", ".join(f"'{name}'" for name in q.hosts)
        return f"{self.host} IN ({names})" if len(q.hosts) > 1 else f"{self.host} = {names}"

    def maxima(self, q: Question, unit: str) -> str:
        values = ", ".join(f"max({name}) AS max_{name}" for name in q.metrics)
        return (
            f"SELECT {self.bucket(unit, self.time)} AS bucket, {values} FROM {self.cpu}"
            f" WHERE {self.hosts(q)} AND {self.window(q)} GROUP BY bucket ORDER BY bucket"
        )

    def single_groupby_1_1_1(self, q: Question) -> str:
        return self.maxima(q, "minute")

    def single_groupby_5_8_1(self, q: Question) -> str:
        return self.maxima(q, "minute")

    def cpu_max_all_8(self, q: Question) -> str:
        return self.maxima(q, "hour")

    def averages(self, q: Question) -> str:
        values = ", ".join(f"avg({name}) AS mean_{name}" for name in q.metrics)
        return (
            f"SELECT {self.host}, {self.bucket('hour', self.time)} AS bucket, {values} FROM {self.cpu}"
            f" WHERE {self.window(q)} GROUP BY {self.host}, bucket ORDER BY {self.host}, bucket"
        )

    def double_groupby_1(self, q: Question) -> str:
        return self.averages(q)

    def double_groupby_all(self, q: Question) -> str:
        return self.averages(q)

    def high(self, q: Question, condition: str) -> str:
        columns = ", ".join([self.host, self.time, *q.metrics])
        return f"SELECT {columns} FROM {self.cpu} WHERE {condition}{self.window(q)} AND {q.metrics[0]} > 90"

    def high_cpu_1(self, q: Question) -> str:
        return self.high(q, f"{self.hosts(q)} AND ")

    def high_cpu_all(self, q: Question) -> str:
        return self.high(q, "")

    def lastpoint(self, q: Question) -> str:
        return self.newest(self.cpu, self.host, [self.time, *q.metrics])

    def groupby_orderby_limit(self, q: Question) -> str:
        return (
            f"SELECT {self.bucket('minute', self.time)} AS bucket, max({q.metrics[0]}) AS highest FROM {self.cpu}"
            f" WHERE {self.time} < {self.instant(q.end_us)} GROUP BY bucket ORDER BY bucket DESC LIMIT 5"
        )

    # iot

    def of_fleet(self, q: Question) -> str:
        return f"{self.truck} IN (SELECT {self.truck} FROM {self.trucks} WHERE fleet = '{q.fleet}')"

    def newest_of_fleet(self, q: Question, table: str, columns: list[str], condition: str = "") -> str:
        shown = ", ".join(f"r.{name}" for name in columns)
        inner = self.newest(table, self.truck, columns, self.of_fleet(q))
        return (
            f"SELECT t.{self.truck}, t.driver, {shown} FROM ({inner}) r"
            f" JOIN {self.trucks} t ON t.{self.truck} = r.{self.truck}{condition}"
        )

    def last_loc(self, q: Question) -> str:
        return self.newest_of_fleet(q, self.readings, ["longitude", "latitude"])

    def low_fuel(self, q: Question) -> str:
        return self.newest_of_fleet(q, self.diagnostics, ["fuel_state"], " WHERE r.fuel_state < 0.1")

    def high_load(self, q: Question) -> str:
        text = self.newest_of_fleet(q, self.diagnostics, ["current_load"], " WHERE r.current_load / t.load_capacity > 0.9")
        return text.replace("r.current_load FROM", "r.current_load, t.load_capacity FROM", 1)

    def stationary_trucks(self, q: Question) -> str:
        return (
            f"SELECT t.{self.truck}, t.driver FROM"
            f" (SELECT {self.truck}, avg(velocity) AS mean FROM {self.readings}"
            f" WHERE {self.window(q)} AND velocity IS NOT NULL AND {self.of_fleet(q)} GROUP BY {self.truck}) r"
            f" JOIN {self.trucks} t ON t.{self.truck} = r.{self.truck} WHERE r.mean < 1"
        )

    def ten_minutes(self, table: str, values: str, condition: str) -> str:
        """Values of each truck in each ten minutes."""
        return (
            f"SELECT {self.truck}, {self.bucket('ten', self.time)} AS ten, {values} FROM {table}"
            f" WHERE {condition} GROUP BY {self.truck}, ten"
        )

    def long_sessions(self, q: Question) -> str:
        condition = f"{self.window(q)} AND velocity IS NOT NULL AND {self.of_fleet(q)}"
        return (
            f"SELECT t.{self.truck}, t.driver FROM (SELECT {self.truck}, count(*) AS driven FROM"
            f" ({self.ten_minutes(self.readings, 'avg(velocity) AS mean', condition)}) s WHERE mean > 1"
            f" GROUP BY {self.truck}) d JOIN {self.trucks} t ON t.{self.truck} = d.{self.truck}"
            f" WHERE d.driven > {q.stretches}"
        )

    def long_driving_sessions(self, q: Question) -> str:
        return self.long_sessions(q)

    def long_daily_sessions(self, q: Question) -> str:
        return self.long_sessions(q)

    def avg_vs_projected_fuel_consumption(self, q: Question) -> str:
        return (
            "SELECT t.fleet, avg(r.fuel_consumption) AS mean, avg(t.nominal_fuel_consumption) AS projected"
            f" FROM {self.readings} r JOIN {self.trucks} t ON t.{self.truck} = r.{self.truck}"
            " WHERE r.velocity > 1 AND t.fleet IS NOT NULL GROUP BY t.fleet"
        )

    def avg_daily_driving_duration(self, q: Question) -> str:
        sessions = self.ten_minutes(self.readings, "avg(velocity) AS mean", "velocity IS NOT NULL")
        return (
            f"SELECT t.fleet, t.{self.truck}, t.driver, avg(d.hours) AS daily_hours FROM"
            f" (SELECT {self.truck}, {self.bucket('day', 'ten')} AS day, count(*) / 6.0 AS hours"
            f" FROM ({sessions}) s WHERE mean > 1 GROUP BY {self.truck}, day) d"
            f" JOIN {self.trucks} t ON t.{self.truck} = d.{self.truck} GROUP BY t.fleet, t.{self.truck}, t.driver"
        )

    def avg_daily_driving_session(self, q: Question) -> str:
        status = self.ten_minutes(self.readings, self.flag("avg(velocity) > 5") + " AS driving", "velocity IS NOT NULL")
        over = f"OVER (PARTITION BY {self.truck} ORDER BY ten)"
        changes = (
            f"SELECT {self.truck}, ten AS start, lead({self.nullable('ten')}) {over} AS stop, driving"
            f" FROM (SELECT {self.truck}, ten, driving, lag({self.nullable('driving')}) {over} AS previous"
            f" FROM ({status}) s) p WHERE driving <> previous AND previous IS NOT NULL"
        )
        return (
            f"SELECT {self.truck}, {self.bucket('day', 'start')} AS day, avg({self.seconds('start', 'stop')}) AS duration"
            f" FROM ({changes}) c WHERE {self.on('driving')} AND stop IS NOT NULL"
            f" GROUP BY {self.truck}, day ORDER BY {self.truck}, day"
        )

    def avg_load(self, q: Question) -> str:
        return (
            "SELECT t.fleet, t.model, t.load_capacity, avg(d.mean / t.load_capacity) AS load_share FROM"
            f" (SELECT {self.truck}, avg(current_load) AS mean FROM {self.diagnostics} GROUP BY {self.truck}) d"
            f" JOIN {self.trucks} t ON t.{self.truck} = d.{self.truck} GROUP BY t.fleet, t.model, t.load_capacity"
        )

    def daily_activity(self, q: Question) -> str:
        stretches = self.ten_minutes(self.diagnostics, "count(*) AS n, avg(status) AS mean", "status IS NOT NULL")
        return (
            "SELECT t.fleet, t.model, y.day, sum(y.n) / 144.0 AS activity FROM"
            f" (SELECT {self.truck}, {self.bucket('day', 'ten')} AS day, n FROM ({stretches}) s WHERE mean < 1) y"
            f" JOIN {self.trucks} t ON t.{self.truck} = y.{self.truck} GROUP BY t.fleet, t.model, y.day ORDER BY y.day"
        )

    def breakdown_frequency(self, q: Question) -> str:
        share = self.flag("avg(CASE WHEN status = 0 THEN 1.0 ELSE 0.0 END) > 0.5") + " AS down"
        stretches = self.ten_minutes(self.diagnostics, share, "status IS NOT NULL")
        return (
            "SELECT t.model, count(*) AS breakdowns FROM"
            f" (SELECT {self.truck}, down,"
            f" lead({self.nullable('down')}) OVER (PARTITION BY {self.truck} ORDER BY ten) AS next"
            f" FROM ({stretches}) s) b JOIN {self.trucks} t ON t.{self.truck} = b.{self.truck}"
            f" WHERE NOT {self.on('b.down')} AND {self.on('b.next')} GROUP BY t.model"
        )
