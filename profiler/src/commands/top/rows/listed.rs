//! The cells of a row in a list, which knows command lines, users and its order.

use std::borrow::Cow;

use profiler_common::call::CallKey;

use super::Row;
use crate::{
    commands::top::{columns::Column, people::Who, table::List},
    model::{Dimension, Figures, Operations, Process, Span, ThreadInFlight},
    names::classes::Classes,
    present::columns::{Form, Source, Whole},
    text::Untrusted,
};

impl Row<'_> {
    /// The text of the cell in `column` of `list`. `whole` is the sum of all rows of the list.
    pub(in crate::commands::top) fn cell(
        &self,
        column: Column,
        whole: Whole,
        list: &List<'_>,
    ) -> String {
        let seconds = || self.selection.span.length(&list.shown.snapshot).as_secs_f64();
        let per_second = (self.selection.span == Span::Recent).then(seconds);
        let form = Form::Short { per_second, unicode: list.look.unicode };
        list.look.printable(&column.cell(&Listed { row: self, list }, whole, form))
    }
}

/// A row, with the command lines and users that the list knows.
struct Listed<'a> {
    row: &'a Row<'a>,
    list: &'a List<'a>,
}

impl Listed<'_> {
    fn who(&self) -> Option<&Who> {
        self.row.process.and_then(|process| self.list.people.of(process))
    }
}

impl Source for Listed<'_> {
    fn process(&self) -> Option<&Process> {
        Source::process(self.row)
    }

    fn comm(&self) -> Option<&Untrusted> {
        let command = self.who().and_then(|who| who.command.as_ref());
        command.filter(|_| self.list.commands).or(self.row.process.map(|process| &process.comm))
    }

    fn call(&self) -> Option<CallKey> {
        self.row.call()
    }

    fn category(&self) -> Option<&'static str> {
        self.row.category()
    }

    fn classes(&self) -> Option<Classes> {
        self.row.classes()
    }

    fn thread(&self) -> Option<&ThreadInFlight> {
        self.row.thread()
    }

    fn place(&self, dimension: Dimension) -> Option<String> {
        self.row.place(dimension)
    }

    fn operations(&self) -> Option<(Option<u8>, &Operations)> {
        Source::operations(self.row)
    }

    fn user(&self) -> Option<String> {
        self.who().map(|who| who.user.to_string())
    }

    fn tid(&self) -> Option<u32> {
        self.row.tid()
    }

    fn thread_comm(&self) -> Option<&Untrusted> {
        self.row.thread_comm()
    }

    fn members(&self) -> usize {
        self.row.members()
    }

    fn top_call(&self) -> Option<CallKey> {
        self.row.top_call(self.list.sort.column)
    }

    fn sum(&self, of: fn(&Figures) -> u64) -> u64 {
        self.row.sum(of)
    }

    fn figures(&self) -> Cow<'_, Figures> {
        self.row.figures()
    }

    fn max_ns(&self) -> u64 {
        self.row.max_ns()
    }
}
