//! Credentials files and secrets.
#![no_main]

use fuzz::auth::credentials::{Credentials, CredentialsError};
use fuzz::auth::secret::{is_secret_header, Secret};
use fuzz::fields;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let [profile, file] = fields(data);
    let profile = String::from_utf8_lossy(profile);

    let read = Credentials::in_file(file, &profile);
    match &read {
        Ok(credentials) => {
            let visible =
                |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic());
            assert!(visible(credentials.access_key_id()));
            assert!(credentials.session_token().is_none_or(visible));
            assert!(!credentials.access_key_id().contains(['/', ',', '=']));
        }
        // Messages end up in logs, and have nothing of the file in them.
        Err(
            CredentialsError::NoProfile | CredentialsError::NoKey(_) | CredentialsError::Invalid(_),
        ) => (),
        // It is who keeps them that has no room.
        Err(CredentialsError::TooLong) => unreachable!(),
        Err(CredentialsError::NotText) => assert!(std::str::from_utf8(file).is_err()),
    }
    if let Ok(text) = std::str::from_utf8(file) {
        let same = |text: &str| Credentials::in_file(text.as_bytes(), &profile) == read;
        assert!(same(&format!("; a comment\n\n{text}\n# another\n")));
        assert!(text.contains('\r') || same(&text.replace('\n', "\r\n")));
    }

    if let Ok(secret) = Secret::new("X-Secret", file) {
        assert_eq!(secret.value().as_bytes(), file.strip_suffix(b"\n").unwrap_or(file));
        assert!(!secret.value().contains(|c: char| c.is_ascii_control()));
        assert_eq!(secret.value().trim_matches(' '), secret.value());
    }
    if is_secret_header(&profile) {
        assert!(profile
            .bytes()
            .all(|b| b.is_ascii_graphic() && !b"$:\"(),/;<=>?@[\\]{}".contains(&b)));
    }
});
