//! The farm on one screen, or in one line every few seconds.
//!
//! Owns: what is shown. Does not own: anything that is shown.

use std::io::Write;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use ratatui::Frame;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style, Stylize};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Cell, Paragraph, Row, Sparkline, Table};
use tokio_util::sync::CancellationToken;

use crate::error::{Error, Result};
use crate::import::progress::{grouped, short};

use super::farm::Farm;
use super::stats::Stats;
use super::turbine::{RATED_KW, Status};

/// Time between two drawings.
const FRAME: Duration = Duration::from_millis(250);
/// Time between two plain lines.
const LINE_EVERY: Duration = Duration::from_secs(5);
/// Values of the power curve over time: the width of a wide terminal.
const HISTORY: usize = 240;
/// Cells of a power bar.
const BAR: usize = 20;

/// What the view needs of the farm.
pub struct Scene {
    time_ms: i64,
    power_kw: f64,
    rated_kw: f64,
    wind_ms: f64,
    from_deg: f64,
    limit: f64,
    devices: usize,
    linked: usize,
    turbines: Vec<TurbineLine>,
    history: Vec<u64>,
    every_ms: i64,
    noted_ms: i64,
}

struct TurbineLine {
    name: String,
    status: Status,
    power_kw: f64,
    wind_ms: f64,
    gearbox_c: f64,
    today_kwh: f64,
    linked: bool,
}

impl Scene {
    /// The farm before its first step.
    pub fn new(farm: &Farm) -> Scene {
        let mut scene = Scene {
            time_ms: 0,
            power_kw: 0.0,
            rated_kw: RATED_KW * farm.turbines().len() as f64,
            wind_ms: 0.0,
            from_deg: 0.0,
            limit: 1.0,
            devices: farm.devices().len(),
            linked: 0,
            turbines: Vec::new(),
            history: Vec::new(),
            every_ms: 1_000,
            noted_ms: i64::MIN,
        };
        scene.update(farm);
        scene
    }

    /// Takes over the state of the farm.
    pub fn update(&mut self, farm: &Farm) {
        self.time_ms = farm.time_ms();
        self.power_kw = farm.power_kw();
        self.wind_ms = farm.air().wind_ms;
        self.from_deg = farm.air().from_deg;
        self.limit = farm.limit();
        self.linked = (0..self.devices).filter(|d| farm.is_linked(*d)).count();
        let lines = farm.turbines().iter().zip(farm.devices()).enumerate();
        self.turbines = lines
            .map(|(i, (turbine, device))| TurbineLine {
                name: device.key.clone(),
                status: turbine.status,
                power_kw: turbine.power_kw,
                wind_ms: turbine.wind_ms,
                gearbox_c: turbine.gearbox_c,
                today_kwh: turbine.today_kwh,
                linked: farm.is_linked(i),
            })
            .collect();
        if self.time_ms >= self.noted_ms.saturating_add(self.every_ms) {
            self.noted_ms = self.time_ms;
            self.history.push(self.power_kw.max(0.0) as u64);
            if self.history.len() > HISTORY {
                // Half the points, each for twice the time: the whole run stays on the screen.
                self.history =
                    self.history.chunks(2).map(|pair| pair.iter().sum::<u64>() / pair.len() as u64).collect();
                self.every_ms *= 2;
            }
        }
    }

    fn clock(&self) -> String {
        match jiff::Timestamp::from_millisecond(self.time_ms) {
            Ok(time) => time.strftime("%Y-%m-%d %H:%M:%S UTC").to_string(),
            Err(_) => String::new(),
        }
    }
}

/// Messages a second, from two readings of the counter.
struct Rate {
    at: Instant,
    acks: u64,
    per_s: f64,
}

impl Rate {
    fn new() -> Rate {
        Rate { at: Instant::now(), acks: 0, per_s: 0.0 }
    }

    fn update(&mut self, stats: &Stats) {
        let seconds = self.at.elapsed().as_secs_f64();
        if seconds >= 1.0 {
            let acks = stats.acks.load(Ordering::Relaxed);
            self.per_s = (acks - self.acks) as f64 / seconds;
            self.acks = acks;
            self.at = Instant::now();
        }
    }
}

/// One line every few seconds until told to stop.
pub fn lines(scene: &Mutex<Scene>, stats: &Stats, stop: &CancellationToken) {
    let mut rate = Rate::new();
    let mut next = Instant::now() + LINE_EVERY;
    while !stop.is_cancelled() {
        std::thread::sleep(Duration::from_millis(100));
        rate.update(stats);
        if Instant::now() < next {
            continue;
        }
        next += LINE_EVERY;
        let line = {
            let scene = scene.lock();
            format!(
                "{}  {:.1} MW of {:.1}  wind {:.1} m/s  {}",
                scene.clock(),
                scene.power_kw / 1000.0,
                scene.rated_kw / 1000.0,
                scene.wind_ms,
                wire(stats, rate.per_s, scene.devices),
            )
        };
        // A reader that went away is no reason to stop publishing.
        let _ = writeln!(std::io::stdout(), "{line}");
    }
}

fn wire(stats: &Stats, per_s: f64, devices: usize) -> String {
    let count = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
    let (p50, p99) = stats.latency();
    format!(
        "{}/{devices} connected  {} msg/s  {} acks  p50 {}  p99 {}  back-filled {}  waiting {}  dropped {}  errors {}",
        count(&stats.connected),
        short(per_s),
        short(count(&stats.acks) as f64),
        millis(p50),
        millis(p99),
        short(count(&stats.resumed) as f64),
        count(&stats.waiting),
        count(&stats.dropped),
        count(&stats.errors),
    )
}

fn millis(duration: Duration) -> String {
    format!("{:.1} ms", duration.as_secs_f64() * 1000.0)
}

/// The last words.
pub fn farewell(stats: &Stats) -> String {
    let count = |counter: &std::sync::atomic::AtomicU64| grouped(counter.load(Ordering::Relaxed));
    let mut text = format!(
        "{} messages acknowledged; samples: {} live, {} back-filled, {} not sent, {} dropped; {} errors",
        count(&stats.acks),
        count(&stats.live),
        count(&stats.resumed),
        count(&stats.waiting),
        count(&stats.dropped),
        count(&stats.errors),
    );
    if let Some(error) = stats.last_error() {
        text.push_str(&format!(" (the last: {error})"));
    }
    text
}

/// The screen, until `q` or told to stop.
pub fn screen(scene: &Mutex<Scene>, stats: &Stats, stop: &CancellationToken) -> Result<()> {
    let failed = |e: std::io::Error| Error::failed(format!("the terminal cannot be drawn on: {e}"));
    // Also puts a panic hook in place that gives the terminal back.
    let mut terminal = ratatui::try_init().map_err(failed)?;
    let mut rate = Rate::new();
    let outcome = loop {
        if stop.is_cancelled() {
            break Ok(());
        }
        rate.update(stats);
        if let Err(e) = terminal.draw(|frame| draw(frame, &scene.lock(), stats, rate.per_s)) {
            break Err(failed(e));
        }
        match quit_pressed() {
            Ok(true) => break Ok(()),
            Ok(false) => {}
            Err(e) => break Err(failed(e)),
        }
    };
    ratatui::restore();
    stop.cancel();
    outcome
}

/// Waits one frame for a key; whether it was one to stop at. In raw mode Ctrl-C is a key, not a signal.
fn quit_pressed() -> std::io::Result<bool> {
    if !event::poll(FRAME)? {
        return Ok(false);
    }
    Ok(match event::read()? {
        Event::Key(key) if key.kind == KeyEventKind::Press => {
            let interrupt = key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL);
            interrupt || matches!(key.code, KeyCode::Char('q' | 'Q') | KeyCode::Esc)
        }
        _ => false,
    })
}

fn draw(frame: &mut Frame<'_>, scene: &Scene, stats: &Stats, per_s: f64) {
    let rows = [Constraint::Length(4), Constraint::Length(6), Constraint::Min(4), Constraint::Length(4)];
    let [head, curve, table, foot] = Layout::vertical(rows).areas(frame.area());
    frame.render_widget(heading(scene), head);
    let power = Sparkline::default()
        .block(Block::bordered().title(" power over time "))
        .data(tail(&scene.history, curve))
        .max(scene.rated_kw as u64)
        .style(Style::new().fg(Color::Cyan));
    frame.render_widget(power, curve);
    frame.render_widget(turbines(scene, table), table);
    let mut lines = vec![Line::from(wire(stats, per_s, scene.devices))];
    lines.push(match stats.last_error() {
        Some(error) => Line::from(format!("last error: {error}")).fg(Color::Red),
        None => Line::from("q quits").fg(Color::DarkGray),
    });
    frame.render_widget(Paragraph::new(lines).block(Block::bordered().title(" MQTT, QoS 1 ")), foot);
}

fn tail(history: &[u64], area: Rect) -> &[u64] {
    let width = usize::from(area.width.saturating_sub(2));
    &history[history.len().saturating_sub(width)..]
}

fn heading(scene: &Scene) -> Paragraph<'static> {
    let share = scene.power_kw / scene.rated_kw * 100.0;
    let mut second = vec![Span::from(format!(
        "wind {:.1} m/s from {:.0}°   links {}/{} up",
        scene.wind_ms, scene.from_deg, scene.linked, scene.devices
    ))];
    if scene.limit < 1.0 {
        second.push(format!("   curtailed to {:.0} %", scene.limit * 100.0).fg(Color::Magenta));
    }
    let first = Line::from(vec![
        Span::styled(
            format!("{:7.2} MW", scene.power_kw / 1000.0),
            Style::new().add_modifier(Modifier::BOLD),
        ),
        Span::from(format!("  {share:.0} % of {:.1} MW   {}", scene.rated_kw / 1000.0, scene.clock())),
    ]);
    Paragraph::new(vec![first, Line::from(second)])
        .block(Block::bordered().title(" wattline demo: wind farm "))
}

fn turbines(scene: &Scene, area: Rect) -> Table<'static> {
    let room = usize::from(area.height.saturating_sub(3));
    let hidden = scene.turbines.len().saturating_sub(room);
    let rows = scene.turbines.iter().take(room).map(|t| {
        let filled = ((t.power_kw / RATED_KW).clamp(0.0, 1.0) * BAR as f64).round() as usize;
        let bar = format!("{}{}", "█".repeat(filled), "░".repeat(BAR - filled));
        Row::new(vec![
            Cell::from(t.name.clone()),
            Cell::from(t.status.name()).style(Style::new().fg(color(t.status))),
            Cell::from(bar).style(Style::new().fg(Color::Green)),
            Cell::from(format!("{:7.0}", t.power_kw)),
            Cell::from(format!("{:5.1}", t.wind_ms)),
            Cell::from(format!("{:5.1}", t.gearbox_c)),
            Cell::from(format!("{:9.0}", t.today_kwh)),
            Cell::from(if t.linked { "" } else { "link down" }).style(Style::new().fg(Color::Red)),
        ])
    });
    let widths = [10, 12, BAR as u16, 8, 6, 8, 10, 10].map(Constraint::Length);
    let head = ["turbine", "status", "power", "kW", "m/s", "gear °C", "kWh today", ""];
    let title = if hidden > 0 { format!(" turbines ({hidden} more) ") } else { " turbines ".to_owned() };
    Table::new(rows, widths)
        .header(Row::new(head).style(Style::new().add_modifier(Modifier::BOLD)))
        .block(Block::bordered().title(title))
}

fn color(status: Status) -> Color {
    match status {
        Status::Running => Color::Green,
        Status::Idle => Color::DarkGray,
        Status::Curtailed => Color::Magenta,
        Status::Storm => Color::Blue,
        Status::Fault => Color::Red,
        Status::Maintenance => Color::Yellow,
    }
}

#[cfg(test)]
mod tests {
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    use super::*;

    #[test]
    fn one_screen_shows_the_farm() {
        let mut farm = Farm::new(1, 12, 1_767_225_600_000, 1_000);
        let mut scene = Scene::new(&farm);
        for _ in 0..60 {
            farm.step();
            scene.update(&farm);
        }
        let mut terminal = Terminal::new(TestBackend::new(120, 32)).unwrap();
        terminal.draw(|frame| draw(frame, &scene, &Stats::new(), 12.0)).unwrap();
        let text: String = terminal.backend().buffer().content().iter().map(|c| c.symbol()).collect();
        for part in
            ["wattline demo", "of 43.2 MW", "WT12", "kWh today", "0/27 connected", "2026-01-01 00:00:59"]
        {
            assert!(text.contains(part), "{part} is not on the screen");
        }
        // A window too small for it must not panic.
        let mut tiny = Terminal::new(TestBackend::new(8, 3)).unwrap();
        tiny.draw(|frame| draw(frame, &scene, &Stats::new(), 12.0)).unwrap();
    }

    #[test]
    fn the_history_keeps_the_whole_run() {
        let mut farm = Farm::new(1, 1, 1_767_225_600_000, 1_000);
        let mut scene = Scene::new(&farm);
        for _ in 0..2_000 {
            farm.step();
            scene.update(&farm);
        }
        assert!(
            scene.history.len() <= HISTORY && scene.history.len() > HISTORY / 4,
            "{}",
            scene.history.len()
        );
    }
}
