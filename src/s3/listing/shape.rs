//! Entries that look like the one before, as nearly all of a page do.
//!
//! Most of a listing are tags, the same bytes in entry after entry. An entry that differs from one that was read
//! only in texts without a tag in them is XML as that one was, and nothing but those texts is to be read.

use core::ops::Range;

use memchr::memchr;

use super::page::Told;
use super::{number, Field, Place};
use crate::s3::time;
use crate::s3::xml::Raw;

/// How many texts differ at most: key, time, size, and ETag.
const MAX_TEXTS: usize = 4;

/// How many bytes an entry has at most that others are compared with: some ten times those of usual ones.
const MAX_LEN: usize = 4096;

/// What the entries that follow may have in common with one that was read; without texts, nothing.
#[derive(Default)]
pub struct Shape {
    is_folder: bool,
    /// The bytes in front of the first text, between texts, and behind the last, one behind the other.
    same: Vec<u8>,
    /// How many of them are in front of a text, and what it is, if it is read. One is a key.
    texts: Vec<(usize, Option<Field>)>,
}

/// What an entry says that has the shape of another.
pub struct Alike<'p> {
    pub key: Raw<'p>,
    pub told: Told,
}

impl Shape {
    /// The entry that a piece begins with, if it has the shape, and what is behind it.
    #[inline]
    pub fn read<'p>(&self, piece: &'p [u8]) -> Option<(Alike<'p>, &'p [u8])> {
        let (mut key, mut told) = (None, Told { is_folder: self.is_folder, ..Told::default() });
        let (mut same, mut rest) = (&*self.same, piece);
        for (len, field) in &self.texts {
            let before;
            (before, same) = same.split_at_checked(*len)?;
            rest = rest.strip_prefix(before)?;
            // There is nothing to be decoded in what is read as a time or a number.
            match field {
                Some(Field::Key) => {
                    let raw;
                    (raw, rest) = Raw::split_off(rest)?;
                    key = Some(raw);
                }
                Some(Field::LastModified) => {
                    let at;
                    (at, rest) = time::split_off(rest)?;
                    told.mtime = Some(at);
                }
                Some(Field::Size) => (told.size, rest) = number(rest)?,
                _ => rest = rest.get(memchr(b'<', rest)?..)?,
            }
        }
        // What is told is what the slow way would tell, as `same` begins with a tag.
        Some((Alike { key: key?, told }, rest.strip_prefix(same)?))
    }
}

/// The shape of an entry, as far as it is read.
pub struct Draft<'p> {
    /// What begins with the entry.
    entry: &'p [u8],
    /// Where in that each text is, and what it is.
    texts: [(Range<usize>, Option<Field>); MAX_TEXTS],
    /// How many there are.
    count: usize,
}

impl<'p> Draft<'p> {
    /// Begins with the entry that a piece begins with.
    pub fn new(entry: &'p [u8]) -> Self {
        Draft { entry, texts: Default::default(), count: 0 }
    }

    /// Takes a text, with which `here` begins, the rest of the piece.
    pub fn text(&mut self, field: Option<Field>, raw: Raw, here: &[u8]) {
        let start = self.entry.len().saturating_sub(here.len());
        if let Some(text) = self.texts.get_mut(self.count) {
            *text = (start..start + raw.len(), field);
        }
        self.count += 1;
    }

    /// Makes it the shape of an entry in a place, `behind` which the piece goes on; one that is far from usual has
    /// none.
    pub fn finish(self, behind: &[u8], place: Place, shape: &mut Shape) {
        shape.is_folder = place == Place::CommonPrefixes;
        shape.same.clear();
        shape.texts.clear();
        let end = self.entry.len().saturating_sub(behind.len());
        let Some(texts) = self.texts.get(..self.count).filter(|_| end <= MAX_LEN) else { return };
        if texts.iter().filter(|(_, field)| *field == Some(Field::Key)).count() != 1 {
            return;
        }
        let mut known = 0;
        for (text, field) in texts {
            let before = self.entry.get(known..text.start).unwrap_or_default();
            shape.same.extend_from_slice(before);
            shape.texts.push((before.len(), *field));
            known = text.end;
        }
        shape.same.extend_from_slice(self.entry.get(known..end).unwrap_or_default());
    }
}
