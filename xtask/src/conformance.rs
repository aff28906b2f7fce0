//! `cargo xtask conformance`: runs the conformance suite on the running kernel, and prints the
//! results as a table.

use std::{fmt, path::Path, process::ExitCode, time::Instant};

use anyhow::{Context, Result, ensure};

use crate::{
    case::Ran,
    test::{built_kernel_tests, kernel_tests_as_root},
    workspace::{output, shown},
};

/// Run the conformance suite: a case for each known pitfall, as root
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Run only the cases whose name contains one of these texts
    #[arg(value_name = "FILTER")]
    filters: Vec<String>,
}

/// The objects, as in the names of the tests.
const OBJECTS: [&str; 2] = ["main", "fallback"];

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let tests = built_kernel_tests()?;
    let listed = output(kernel_tests_as_root(&tests, None, &[])?.arg("conformance-cases"))?;
    let is_wanted = |case: &Case| {
        args.filters.is_empty() || args.filters.iter().any(|filter| case.name.contains(filter))
    };
    let cases: Vec<_> = listed.lines().filter_map(Case::parse).filter(is_wanted).collect();
    ensure!(!cases.is_empty(), "no case has such a name");
    let mut table = Table::default();
    for case in cases {
        let mut verdicts = [None, None];
        for (object, verdict) in OBJECTS.into_iter().zip(&mut verdicts) {
            if case.objects.iter().any(|of_case| of_case == object) {
                *verdict = Some(ran(&tests, object, &case)?);
            }
        }
        table.0.push((case, verdicts));
    }
    println!("\n{table}");
    let failed = table.failed();
    ensure!(failed == 0, "{failed} failed");
    Ok(ExitCode::SUCCESS)
}

/// A case, as the kernel tests list it.
struct Case {
    name: String,
    pitfall: String,
    /// The objects that it runs on.
    objects: Vec<String>,
}

impl Case {
    /// Parses the name, the pitfall, and the objects with commas between them; tabs between the three.
    fn parse(line: &str) -> Option<Self> {
        let mut fields = line.split('\t').map(str::to_owned);
        let (name, pitfall, objects) = (fields.next()?, fields.next()?, fields.next()?);
        let objects = objects.split(',').map(str::to_owned).collect();
        Some(Self { name, pitfall, objects })
    }
}

/// Runs a case with one of the objects. Shows the output only if the case fails.
fn ran(tests: &Path, object: &str, case: &Case) -> Result<Ran> {
    let name = format!("{object}::conformance::{}", case.name);
    let mut command = kernel_tests_as_root(tests, None, &[])?;
    command.args(["--exact", &name]);
    let start = Instant::now();
    let output = command.output().with_context(|| format!("cannot run {}", shown(&command)))?;
    let said = String::from_utf8_lossy(&output.stdout);
    let ran = Ran::of(output.status.code().unwrap_or(-1), &said);
    eprintln!("{:>6.1} s  {}  {name}", start.elapsed().as_secs_f64(), ran.verdict());
    if matches!(ran, Ran::Failed(_)) {
        eprintln!("{}{said}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(ran)
}

/// The cases with their results for each object that they run on.
#[derive(Default)]
struct Table(Vec<(Case, [Option<Ran>; 2])>);

impl Table {
    fn failed(&self) -> usize {
        self.0
            .iter()
            .flat_map(|(_, verdicts)| verdicts.iter().flatten())
            .filter(|v| matches!(v, Ran::Failed(_)))
            .count()
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = |of: fn(&Case) -> &str| {
            self.0.iter().map(|(case, _)| of(case).chars().count()).max().unwrap_or(0)
        };
        let name = width(|case| &case.name).max("pitfall".len());
        let what = width(|case| &case.pitfall).max("what it is".len());
        writeln!(
            f,
            "{:name$}  {:what$}  {:8}  {}",
            "pitfall", "what it is", OBJECTS[0], OBJECTS[1]
        )?;
        let mut reasons: Vec<(&str, &str)> = Vec::new();
        for (case, verdicts) in &self.0 {
            let [main, fallback] =
                verdicts.each_ref().map(|ran| ran.as_ref().map_or("-", Ran::verdict));
            writeln!(f, "{:name$}  {:what$}  {main:8}  {fallback}", case.name, case.pitfall)?;
            let skipped = verdicts.iter().flatten().find_map(|verdict| match verdict {
                Ran::Ignored(reason) => Some(reason),
                _ => None,
            });
            reasons.extend(skipped.map(|reason| (case.name.as_str(), reason.as_str())));
        }
        for (name, reason) in reasons {
            writeln!(f, "skipped: {name}: {reason}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_a_line_a_case_and_one_a_reason() {
        let case = |name: &str, pitfall: &str, objects: &str| {
            Case::parse(&format!("{name}\t{pitfall}\t{objects}")).expect("a case")
        };
        let skipped = Some(Ran::Ignored("no compiler".to_owned()));
        let table = Table(vec![
            (
                case("fork", "returns twice", "main,fallback"),
                [Some(Ran::Passed), Some(Ran::Failed(String::new()))],
            ),
            (case("i386", "has a table", "main,fallback"), [skipped.clone(), skipped]),
            (case("unit", "restarts", "main"), [Some(Ran::Passed), None]),
        ]);
        assert_eq!(
            table.to_string(),
            "pitfall  what it is     main      fallback\n\
             fork     returns twice  ok        FAILED\n\
             i386     has a table    skipped   skipped\n\
             unit     restarts       ok        -\n\
             skipped: i386: no compiler\n"
        );
        assert_eq!(table.failed(), 1);
    }
}
