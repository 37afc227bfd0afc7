//! A page of a folder: what of a listing is shown, and where the next page begins.

use super::question::is_name;
use super::text::{Found, Text};
use crate::s3::time::Civil;

/// A folder or a file: where its name is, and what S3 says of it.
#[derive(Clone, Copy)]
pub struct Entry {
    start: u32,
    len: u32,
    /// What is in its name, but for the final slash.
    found: Found,
    /// In bytes; 0 for folders.
    pub size: u64,
    /// When it was stored; folders do not have it.
    pub mtime: Option<Civil>,
}

/// The names and entries of a listing. 32 bytes an entry beside its key.
#[derive(Default)]
pub struct Page {
    /// The keys of all entries, one behind the other.
    names: Vec<u8>,
    /// Their names end in a slash.
    folders: Vec<Entry>,
    files: Vec<Entry>,
    next: Vec<u8>,
    /// How many keys the server should not have sent: beside the prefix, or of a deeper folder.
    pub dropped: usize,
    /// Whether the folder is there: it has an object of its own, or anything in it.
    pub exists: bool,
}

impl Page {
    /// The folders without their final slash, and then the files, each in the order of bytes.
    pub fn entries(&self) -> impl Iterator<Item = (Text<'_>, Option<&Entry>)> {
        let text =
            |entry: &Entry| Text { bytes: bare(name(&self.names, entry)), found: entry.found };
        let folders = self.folders.iter().map(move |folder| (text(folder), None));
        folders.chain(self.files.iter().map(move |file| (text(file), Some(file))))
    }

    /// Behind which name the next page begins, if there is one; a folder's has its final slash.
    pub fn next(&self) -> Option<&[u8]> {
        (!self.next.is_empty()).then_some(&self.next)
    }

    /// The bytes of keys, to which the key of the next entry is appended.
    pub(super) fn names(&mut self) -> &mut Vec<u8> {
        &mut self.names
    }

    /// Takes the last bytes of [`Page::names`], from `start` on, for the key of an entry; `after` is
    /// behind which name the page begins. The key is forgotten when nothing of it is to be shown.
    #[inline(always)]
    pub(super) fn add(&mut self, start: usize, prefix: &[u8], after: &[u8], told: Told) {
        let key = self.names.get(start..).unwrap_or_default();
        let kept = match key.strip_prefix(prefix) {
            Some([]) => {
                // The folder's own placeholder.
                self.exists = true;
                None
            }
            Some(name) => {
                let (is_folder, found) = (name.ends_with(b"/"), Found::of(bare(name)));
                // A server that does not know the delimiter sends keys of deeper folders.
                let is_here = !found.has_slash() && (is_folder || !told.is_folder);
                is_here.then_some((is_folder, name, found))
            }
            None => None,
        };
        match kept {
            Some((is_folder, name, found)) if !is_folder || name != after => {
                self.exists = true;
                let entry = Entry {
                    start: (start + prefix.len()) as u32,
                    len: name.len() as u32,
                    found,
                    size: if is_folder { 0 } else { told.size },
                    mtime: told.mtime.filter(|_| !is_folder),
                };
                if is_folder { &mut self.folders } else { &mut self.files }.push(entry);
            }
            kept => {
                self.dropped += usize::from(kept.is_none() && key != prefix);
                self.names.truncate(start);
            }
        }
    }

    /// Orders the entries, finds where the next page begins, and leaves out what is not shown. `token` is what
    /// the server calls its next page, if there is one. `None` when there is one, but no name that it could
    /// begin behind.
    pub(super) fn finish(
        mut self,
        token: Option<&[u8]>,
        prefix: &[u8],
        after: &[u8],
    ) -> Option<Page> {
        let Page { names, folders, files, next, .. } = &mut self;
        let name = |entry: &Entry| name(names, entry);
        let bare = |entry: &Entry| bare(name(entry));
        for entries in [&mut *folders, &mut *files] {
            // Most servers send them in order.
            let mut last = None;
            let is_behind = |entry| last.replace(bare(entry)).is_none_or(|last| last < bare(entry));
            if !entries.iter().all(is_behind) {
                entries.sort_unstable_by(|a, b| bare(a).cmp(bare(b)));
                entries.dedup_by(|a, b| bare(a) == bare(b));
            }
        }
        if let Some(token) = token {
            // Before anything is left out: what is hidden must not come again.
            let mut greatest: &[u8] = b"";
            for entry in files.iter().rev().chain(folders.iter().rev()) {
                if name(entry) > greatest && is_name(prefix, name(entry)) {
                    greatest = name(entry);
                }
            }
            if greatest.is_empty() || greatest == after {
                return None;
            }
            // A server that orders folders without their slash may have sent a smaller one last. The token of
            // such servers is its key.
            let last = token.strip_prefix(prefix).unwrap_or(token);
            let is_last = |entry: &Entry| name(entry) == last && last != after;
            let is_here = folders.iter().chain(&*files).any(is_last) && is_name(prefix, last);
            *next = if is_here { last } else { greatest }.to_vec();
        }
        for entries in [folders, files] {
            // Empty, `.` and `..` ones too, which no link can lead to.
            entries.retain(|entry| !matches!(bare(entry), [] | [b'.', ..]));
        }
        Some(self)
    }
}

/// What S3 says of an entry.
#[derive(Default)]
pub(super) struct Told {
    pub size: u64,
    pub mtime: Option<Civil>,
    pub is_folder: bool,
}

/// A name without its final slash.
fn bare(name: &[u8]) -> &[u8] {
    name.strip_suffix(b"/").unwrap_or(name)
}

fn name<'a>(names: &'a [u8], entry: &Entry) -> &'a [u8] {
    names
        .get(entry.start as usize..)
        .and_then(|rest| rest.get(..entry.len as usize))
        .unwrap_or_default()
}
