//! The outcome of a suite, and how it is told.

use std::fmt;

/// How a case ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Every output is as recorded.
    Passed,
    /// An output differs, or there is none; says how.
    Failed(String),
    /// The result is implementation-defined; says how it differs, if it does.
    Advisory(Option<String>),
    /// Not this runner's to compute; says why.
    Skipped(String),
}

/// How many names are listed with a reason for skipping.
const NAMES: usize = 4;

/// The verdicts of one suite.
#[derive(Clone, Debug)]
pub struct Report {
    suite: String,
    verdicts: Vec<(String, Verdict)>,
}

impl Report {
    /// A report without verdicts.
    pub fn new(suite: impl Into<String>) -> Self {
        Self { suite: suite.into(), verdicts: Vec::new() }
    }

    /// Adds the verdict on the case `name`.
    pub fn add(&mut self, name: impl Into<String>, verdict: Verdict) {
        self.verdicts.push((name.into(), verdict));
    }

    /// The verdicts, in the order of the cases.
    pub fn verdicts(&self) -> &[(String, Verdict)] {
        &self.verdicts
    }

    fn count(&self, kind: impl Fn(&Verdict) -> bool) -> usize {
        self.verdicts.iter().filter(|(_, verdict)| kind(verdict)).count()
    }

    /// How many passed.
    pub fn passed(&self) -> usize {
        self.count(|verdict| matches!(verdict, Verdict::Passed))
    }

    /// How many failed.
    pub fn failed(&self) -> usize {
        self.count(|verdict| matches!(verdict, Verdict::Failed(_)))
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let advisory = self.count(|verdict| matches!(verdict, Verdict::Advisory(_)));
        let skipped = self.count(|verdict| matches!(verdict, Verdict::Skipped(_)));
        write!(f, "{}: {} passed, {} failed, {advisory} advisory, {skipped} skipped", self.suite, self.passed(), self.failed())?;
        for (name, verdict) in &self.verdicts {
            match verdict {
                Verdict::Failed(what) => write!(f, "\n  failed   {name}: {what}")?,
                Verdict::Advisory(Some(what)) => write!(f, "\n  advisory {name}: {what}")?,
                Verdict::Passed | Verdict::Advisory(None) | Verdict::Skipped(_) => {}
            }
        }
        // Cases are skipped by the hundred for one reason, which is told once.
        let mut reasons: Vec<(&str, Vec<&str>)> = Vec::new();
        for (name, verdict) in &self.verdicts {
            let Verdict::Skipped(why) = verdict else { continue };
            match reasons.iter_mut().find(|(reason, _)| reason == why) {
                Some((_, names)) => names.push(name),
                None => reasons.push((why, vec![name])),
            }
        }
        for (why, names) in reasons {
            let more = if names.len() > NAMES { format!(" and {} more", names.len() - NAMES) } else { String::new() };
            write!(f, "\n  skipped  {}{more}: {why}", names[..names.len().min(NAMES)].join(", "))?;
        }
        Ok(())
    }
}
