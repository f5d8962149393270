use super::super::reading::Datum;
use super::*;

#[test]
fn the_power_curve_rises_and_stays_within_rated_power() {
    assert_eq!(power_curve_kw(2.99), 0.0);
    assert_eq!(power_curve_kw(CUT_IN_MS), 0.0);
    assert_eq!(power_curve_kw(RATED_MS), RATED_KW);
    assert_eq!(power_curve_kw(24.99), RATED_KW);
    assert_eq!(power_curve_kw(25.0), 0.0);
    // (8^3 - 27) / (1728 - 27) = 485 / 1701 of 3,600 kW.
    assert!((power_curve_kw(8.0) - 1_026.455).abs() < 0.001);
    let curve: Vec<f64> = (0..2_500).map(|i| power_curve_kw(f64::from(i) / 100.0)).collect();
    assert!(curve.windows(2).all(|w| w[0] <= w[1]));
    assert!(curve.iter().all(|p| (0.0..=RATED_KW).contains(p)));
}

const FREE: Orders = Orders { limit: 1.0, maintenance: false };

fn air(from_deg: f64) -> Air {
    Air { wind_ms: 10.0, from_deg, temperature_c: 15.0, pressure_hpa: 1013.25, humidity_pct: 60.0 }
}

/// A turbine that never breaks.
fn turbine() -> Turbine {
    let mut turbine = Turbine::new(1, 1, Place { east_m: 0.0, north_m: 0.0 });
    turbine.nacelle_deg = 235.0;
    turbine.repair_s = f64::INFINITY;
    turbine
}

fn blow(turbine: &mut Turbine, seconds: u32, wind_ms: f64, orders: Orders) {
    for second in 0..seconds {
        turbine.step(f64::from(second), 1.0, wind_ms, &air(235.0), orders);
    }
}

#[test]
fn it_waits_for_the_wind_to_calm_after_a_storm() {
    let mut turbine = turbine();
    blow(&mut turbine, 600, 15.0, FREE);
    assert_eq!(turbine.status, Status::Running);
    assert!(turbine.power_kw > 0.95 * RATED_KW, "{}", turbine.power_kw);
    blow(&mut turbine, 900, 27.0, FREE);
    assert_eq!(turbine.status, Status::Storm);
    assert!(turbine.power_kw < 0.0, "it takes power at standstill");
    blow(&mut turbine, 3_600, 23.5, FREE);
    assert_eq!(turbine.status, Status::Storm, "below cut-out, still above restart");
    blow(&mut turbine, 3_600, 20.0, FREE);
    assert_eq!(turbine.status, Status::Running);
}

#[test]
fn orders_are_obeyed() {
    let mut turbine = turbine();
    blow(&mut turbine, 900, 14.0, Orders { limit: 0.5, maintenance: false });
    assert_eq!(turbine.status, Status::Curtailed);
    assert!(turbine.power_kw <= 0.5 * RATED_KW + 1.0 && turbine.power_kw > 0.45 * RATED_KW);
    blow(&mut turbine, 120, 14.0, Orders { limit: 1.0, maintenance: true });
    assert_eq!(turbine.status, Status::Maintenance);
    assert!(turbine.power_kw < 0.0);
}

#[test]
fn its_energy_is_the_integral_of_its_power() {
    let mut turbine = turbine();
    let before = turbine.total_kwh;
    let mut sum = 0.0;
    for second in 0..7_200 {
        turbine.step(f64::from(second), 1.0, 9.0 + f64::from(second % 7), &air(235.0), FREE);
        sum += turbine.power_kw.max(0.0) / 3600.0;
    }
    assert!(sum > 1_000.0, "it ran: {sum}");
    assert!((turbine.total_kwh - before - sum).abs() < 1e-6 * sum);
    assert!((turbine.today_kwh - sum).abs() < 1e-6 * sum);
}

#[test]
fn the_nacelle_follows_the_wind_slowly() {
    let mut turbine = turbine();
    for second in 0..30 {
        turbine.step(f64::from(second), 1.0, 10.0, &air(275.0), FREE);
    }
    let error = 275.0 - turbine.nacelle_deg;
    assert!(error > 20.0, "40 degrees take at least 100 s: {error}");
    let weak = turbine.power_kw;
    for second in 30..600 {
        turbine.step(f64::from(second), 1.0, 10.0, &air(275.0), FREE);
    }
    assert!((275.0 - turbine.nacelle_deg).abs() < 8.0, "{}", turbine.nacelle_deg);
    assert!(turbine.power_kw > weak, "and facing the wind brings more");
}

#[test]
fn temperatures_have_inertia() {
    let mut turbine = turbine();
    let cold = turbine.gearbox_c;
    blow(&mut turbine, 60, 14.0, FREE);
    assert!((turbine.gearbox_c - cold).abs() < 3.0, "a minute changes little");
    blow(&mut turbine, 6 * 3600, 14.0, FREE);
    assert!((turbine.gearbox_c - (15.0 + 12.0 + 38.0)).abs() < 3.0, "{}", turbine.gearbox_c);
}

#[test]
fn broken_sensors_say_so() {
    let mut turbine = turbine();
    blow(&mut turbine, 60, 10.0, FREE);
    turbine.trouble = Some((Trouble::Open, 100.0));
    let readings = turbine.readings();
    let gearbox = readings.iter().find(|r| r.key == "gearbox_temp_c").unwrap();
    assert_eq!((&gearbox.value, gearbox.quality), (&Datum::Float(850.0), Some(9)));
    turbine.trouble = None;
    assert!(turbine.readings().iter().all(|r| matches!(r.quality, None | Some(0))));
}
