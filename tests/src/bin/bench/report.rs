//! The table of figures, and the same as JSON.

use std::path::Path;

use serde_json::{Value, json};

/// A bound that a figure should keep.
#[derive(Clone, Copy, Debug)]
pub enum Target {
    AtMost(f64),
    AtLeast(f64),
    /// Told for information.
    None,
}

impl Target {
    fn met(self, figure: f64) -> Option<bool> {
        match self {
            Target::AtMost(bound) => Some(figure <= bound),
            Target::AtLeast(bound) => Some(figure >= bound),
            Target::None => None,
        }
    }

    fn words(self) -> String {
        match self {
            Target::AtMost(bound) => format!("<= {bound}"),
            Target::AtLeast(bound) => format!(">= {bound}"),
            Target::None => "-".to_owned(),
        }
    }
}

/// What was measured of one workload.
#[derive(Clone, Debug)]
struct Line {
    name: String,
    target: Target,
    figure: f64,
    /// Such as "x", "MiB".
    unit: &'static str,
    /// The two sides of the ratio, in words.
    detail: String,
    /// Every round's two sides.
    rounds: Vec<(f64, f64)>,
}

/// All figures so far.
pub struct Report {
    judged: bool,
    lines: Vec<Line>,
    /// The servers' versions, once they were asked.
    pub server: String,
    pub mariadb: String,
}

impl Report {
    pub fn new(judged: bool) -> Report {
        Report { judged, lines: Vec::new(), server: String::new(), mariadb: String::new() }
    }

    /// The median of the rounds' ratios: both sides of a round were measured next to each other.
    pub fn ratio(&mut self, name: &str, target: Target, unit: &str, rounds: Vec<(f64, f64)>) {
        let ratios = rounds.iter().map(|(ours, theirs)| ours / theirs).collect();
        let side = |side: fn(&(f64, f64)) -> f64| number(median(rounds.iter().map(side).collect()));
        let best = |side: fn(&(f64, f64)) -> f64| {
            let values = rounds.iter().map(side);
            number(match target {
                Target::AtLeast(_) => values.fold(0.0, f64::max),
                _ => values.fold(f64::INFINITY, f64::min),
            })
        };
        let medians = format!("{} {unit} / {} {unit}", side(|r| r.0), side(|r| r.1));
        let detail = format!("{medians}; best {} / {}", best(|r| r.0), best(|r| r.1));
        self.add(Line { name: name.to_owned(), target, figure: median(ratios), unit: "x", detail, rounds });
    }

    /// The same work's processor time, which a busy machine disturbs less than the time on the clock.
    pub fn work(&mut self, name: &str, rounds: Vec<(f64, f64)>) {
        let ratios = rounds.iter().map(|(ours, theirs)| ours / theirs).collect();
        let side = |side: fn(&(f64, f64)) -> f64| number(median(rounds.iter().map(side).collect()));
        let detail = format!("{} s / {} s of processor time, engine and servers", side(|r| r.0), side(|r| r.1));
        let name = format!("{name}, CPU");
        self.add(Line { name, target: Target::None, figure: median(ratios), unit: "x", detail, rounds });
    }

    /// A figure that is no ratio.
    pub fn figure(&mut self, name: &str, target: Target, unit: &'static str, figure: f64, detail: String) {
        self.add(Line { name: name.to_owned(), target, figure, unit, detail, rounds: Vec::new() });
    }

    /// A workload that could not be measured, and why.
    pub fn skip(&mut self, name: &str, why: &str) {
        self.add(Line {
            name: name.to_owned(),
            target: Target::None,
            figure: f64::NAN,
            unit: "",
            detail: format!("not measured: {why}"),
            rounds: Vec::new(),
        });
    }

    fn add(&mut self, line: Line) {
        eprintln!("{}: {} {} ({})", line.name, number(line.figure), line.unit, line.detail);
        self.lines.push(line);
    }

    fn verdict(&self, line: &Line) -> &'static str {
        match line.target.met(line.figure) {
            Some(true) if self.judged => "ok",
            Some(false) if self.judged => "MISSED",
            _ => "",
        }
    }

    pub fn print(&self) {
        println!("\n{:<50} {:>10} {:>9}  {:<7} of what", "workload", "median", "target", "");
        for line in &self.lines {
            let figure = format!("{} {}", number(line.figure), line.unit);
            let (target, verdict) = (line.target.words(), self.verdict(line));
            println!("{:<50} {figure:>10} {target:>9}  {verdict:<7} {}", line.name, line.detail);
        }
        if !self.judged {
            println!("\nSizes were too small to judge by.");
        }
    }

    pub fn write(&self, path: &Path) -> std::io::Result<()> {
        let line = |line: &Line| {
            let (kind, bound) = match line.target {
                Target::AtMost(bound) => (json!("at most"), json!(bound)),
                Target::AtLeast(bound) => (json!("at least"), json!(bound)),
                Target::None => (Value::Null, Value::Null),
            };
            json!({
                "workload": line.name,
                "median": line.figure,
                "unit": line.unit,
                "target": bound,
                "target_is": kind,
                "met": line.target.met(line.figure).filter(|_| self.judged),
                "detail": line.detail,
                "rounds": line.rounds,
            })
        };
        let document = json!({
            "cores": std::thread::available_parallelism().map_or(0, usize::from),
            "memory_mib": total_memory(),
            "postgresql": self.server,
            "mariadb": self.mariadb,
            "sqlite": rusqlite::version(),
            "workloads": self.lines.iter().map(line).collect::<Vec<_>>(),
        });
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        std::fs::write(path, format!("{document:#}\n"))
    }
}

/// The middle one, or the mean of the two in the middle.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    match (values.len(), values.len() / 2) {
        (0, _) => f64::NAN,
        (count, middle) if count % 2 == 1 => values[middle],
        (_, middle) => f64::midpoint(values[middle - 1], values[middle]),
    }
}

fn number(value: f64) -> String {
    match value.abs() {
        v if v >= 100.0 => format!("{value:.0}"),
        v if v >= 10.0 => format!("{value:.1}"),
        v if v >= 0.095 => format!("{value:.2}"),
        _ => format!("{value:.4}"),
    }
}

fn total_memory() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let kib: u64 =
        text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?.split_whitespace().next()?.parse().ok()?;
    Some(kib / 1024)
}
