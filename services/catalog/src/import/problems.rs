//! What is wrong with the rows of a file: the first problems in full, the bad rows counted.

use std::collections::BTreeMap;

/// How many problems are listed.
const LISTED_MAX: usize = 100;

/// What is wrong with a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowProblem {
    /// The line on which the row begins, the header being 1.
    pub line: i64,
    /// The column's name; empty if the whole row is wrong.
    pub column: String,
    /// What is wrong.
    pub description: String,
}

/// The problems of a file so far. They may come in any order; those of the first lines are kept.
#[derive(Debug, Default)]
pub struct Problems {
    listed: BTreeMap<(i64, usize), RowProblem>,
    bad_rows: i64,
}

impl Problems {
    /// Adds all that is wrong with one row.
    pub fn add_row(&mut self, problems: impl IntoIterator<Item = RowProblem>) {
        self.bad_rows += 1;
        for (place, problem) in problems.into_iter().enumerate() {
            self.listed.insert((problem.line, place), problem);
            if self.listed.len() > LISTED_MAX {
                self.listed.pop_last();
            }
        }
    }

    /// How many rows are bad.
    pub fn bad_rows(&self) -> i64 {
        self.bad_rows
    }

    /// The problems of the first bad rows, in the order of their lines.
    pub fn listed(&self) -> impl Iterator<Item = &RowProblem> {
        self.listed.values()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_hundred_by_line_are_listed_and_all_rows_counted() {
        let mut problems = Problems::default();
        for line in (2..=201).rev() {
            let problem = |column: &str| RowProblem { line, column: column.into(), description: String::new() };
            problems.add_row([problem("a"), problem("b")]);
        }
        assert_eq!(problems.bad_rows(), 200);
        let listed: Vec<_> = problems.listed().map(|problem| (problem.line, problem.column.as_str())).collect();
        assert_eq!(listed.len(), 100);
        assert_eq!(listed[..3], [(2, "a"), (2, "b"), (3, "a")]);
        assert_eq!(listed[99], (51, "b"));
    }
}
