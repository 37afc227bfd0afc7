//! Whether a worker could read a file that the master process can.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::{fs, io};

use ngx::ffi::{gid_t, ngx_conf_t, uid_t, NGX_LOG_WARN};

use crate::log;
use crate::nginx::core_conf;

/// Warns of a file of credentials `name` that the user of the workers could not read.
///
/// nginx's master process, which is root, would not notice; and what groups beside their own a process has,
/// workers lose.
///
/// # Safety
/// `cf` is nginx's context in a postconfiguration hook.
pub unsafe fn warn(cf: *mut ngx_conf_t, name: &str, path: &Path) {
    // SAFETY: the caller's promise.
    unsafe {
        let Some((uid, gid)) = core_conf::user(cf) else { return };
        let what = match is_readable(path, uid, gid) {
            Ok(true) => return,
            Ok(false) => {
                "is not readable for the user of nginx's workers; give their group the right to \
                          read it"
                    .to_owned()
            }
            Err(error) => format!("cannot be looked at ({error}); is its path right?"),
        };
        let path = path.display();
        let what = format!("the token file \"{path}\" {what}");
        log::of_configuration(cf, NGX_LOG_WARN, name, what);
    }
}

/// Whether a user could read a file, by the modes of the file and the folders above it.
fn is_readable(path: &Path, uid: uid_t, gid: gid_t) -> io::Result<bool> {
    let path = path.canonicalize()?;
    let folders = path.ancestors().skip(1).map(|folder| (folder, 0o1));
    for (at, bit) in [(&*path, 0o4)].into_iter().chain(folders) {
        let meta = fs::metadata(at)?;
        let shift = match () {
            () if meta.uid() == uid => 6,
            () if meta.gid() == gid => 3,
            () => 0,
        };
        if uid != 0 && meta.mode() >> shift & bit == 0 {
            return Ok(false);
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn modes_say_who_reads() {
        let folder = std::env::temp_dir().join(format!("s3pb-readable-{}", std::process::id()));
        fs::create_dir(&folder).unwrap();
        let file = folder.join("token");
        fs::write(&file, "x").unwrap();
        let meta = fs::metadata(&file).unwrap();
        let (uid, gid) = (meta.uid(), meta.gid());
        let [other, others] = [uid.wrapping_add(1).max(1), gid.wrapping_add(1).max(1)];
        for (folder_mode, mode, user, group, expected) in [
            (0o755, 0o644, other, others, true),
            (0o755, 0o640, other, others, false),
            (0o755, 0o640, other, gid, true),
            (0o755, 0o604, other, gid, false),
            (0o750, 0o644, other, others, false),
            (0o700, 0o600, 0, 0, true),
        ] {
            fs::set_permissions(&folder, fs::Permissions::from_mode(folder_mode)).unwrap();
            fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
            let found = is_readable(&file, user, group).unwrap();
            assert_eq!(found, expected, "{folder_mode:o} {mode:o} {user} {group}");
        }
        fs::remove_dir_all(&folder).unwrap();
        assert!(is_readable(&file, uid, gid).is_err());
    }
}
