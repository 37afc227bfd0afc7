//! AWS credentials, and the file that AWS's tools share.

use thiserror::Error;

use crate::s3::zeroed::Zeroed;

/// Why credentials are refused. No message has a value in it.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum CredentialsError {
    /// The file is not for AWS, or for another profile.
    #[error(
        "there is no such profile (\"default\", if none is named); add it or name another with \
         \"profile=\""
    )]
    NoProfile,
    /// A profile that only names a role, a process or a session.
    #[error("the profile has no {0}; add it")]
    NoKey(&'static str),
    /// A byte that would end or break a header or the credential scope.
    #[error(
        "the {0} is not one: it is empty or has white space or another byte that none has; \
         copy it again"
    )]
    Invalid(&'static str),
    /// More than is kept of keys that are renewed.
    #[error("the keys are longer than 8 KiB, as no headers may be; copy them again")]
    TooLong,
    /// Not a file that AWS's tools could have written.
    #[error("the file is not UTF-8 text; write it again")]
    NotText,
}

/// An access key, and the token of a session. It has no `Debug`, so that no log can show it, and its memory is
/// zeroed when it is dropped.
#[derive(PartialEq, Eq)]
pub struct Credentials {
    access_key_id: Box<str>,
    secret_access_key: Zeroed,
    session_token: Option<Zeroed>,
}

impl Credentials {
    /// Takes the three parts as text ("AWS security credentials", IAM User Guide).
    ///
    /// # Errors
    /// [`CredentialsError::Invalid`] when a part is empty or has a byte that is not visible
    /// ASCII, or an access key ID has a `/`, `,` or `=`, which would end it in a header.
    pub fn new(id: &str, secret: &str, token: Option<&str>) -> Result<Self, CredentialsError> {
        let visible = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic());
        if !visible(id) || id.contains(['/', ',', '=']) {
            return Err(CredentialsError::Invalid("access key ID"));
        }
        if !visible(secret) {
            return Err(CredentialsError::Invalid("secret access key"));
        }
        if !token.is_none_or(visible) {
            return Err(CredentialsError::Invalid("session token"));
        }
        Ok(Credentials {
            access_key_id: id.into(),
            secret_access_key: secret.into(),
            session_token: token.map(Into::into),
        })
    }

    /// Reads a profile of a shared credentials file as AWS's tools do ("Shared config and
    /// credentials files", AWS SDKs and Tools Reference Guide): sections in brackets, `key =
    /// value` in any case, lines and ends of lines that are comments after `#` or `;`, profiles
    /// in several places, the last value of a key. Settings of other tools are skipped.
    ///
    /// # Errors
    /// The first reason of [`CredentialsError`] that applies.
    pub fn in_file(bytes: &[u8], profile: &str) -> Result<Self, CredentialsError> {
        let text = core::str::from_utf8(bytes).map_err(|_| CredentialsError::NotText)?;
        let (mut found, mut inside) = (false, false);
        let mut values: [Option<Zeroed>; 3] = Default::default();
        // The property that a line indented deeper than it would continue.
        let mut last: Option<(usize, Option<usize>)> = None;

        for line in text.lines() {
            let (words, indent) = (line.trim(), line.len() - line.trim_start().len());
            if words.is_empty() || words.starts_with(['#', ';']) {
                continue;
            }
            match last {
                Some((at, key)) if indent > at => {
                    if let Some(value) = key.and_then(|k| values[k].as_mut()) {
                        value.push('\n');
                    }
                    continue;
                }
                _ => last = None,
            }
            if let Some(section) = words.strip_prefix('[') {
                inside = section.split(']').next().is_some_and(|name| name.trim() == profile);
                found |= inside;
            } else if let (true, Some((name, value))) = (inside, words.split_once(['=', ':'])) {
                let name = name.trim_end().to_ascii_lowercase();
                let key = KEYS.iter().position(|k| *k == name);
                if let Some(key) = key {
                    values[key] = Some(without_comment(value).into());
                }
                last = Some((indent, key));
            }
        }

        if !found {
            return Err(CredentialsError::NoProfile);
        }
        let missing = |key| CredentialsError::NoKey(KEYS[key]);
        let [id, secret, token] = values;
        let id = id.ok_or_else(|| missing(0))?;
        let secret = secret.ok_or_else(|| missing(1))?;
        Self::new(&id, &secret, token.as_deref())
    }

    /// The access key ID.
    pub fn access_key_id(&self) -> &str {
        &self.access_key_id
    }

    /// The secret access key.
    pub(super) fn secret_access_key(&self) -> &str {
        &self.secret_access_key
    }

    /// The session token of temporary credentials.
    pub fn session_token(&self) -> Option<&str> {
        self.session_token.as_deref()
    }
}

const KEYS: [&str; 3] = ["aws_access_key_id", "aws_secret_access_key", "aws_session_token"];

/// A value without the white space around it and without a comment behind it.
fn without_comment(value: &str) -> &str {
    let value = value.trim();
    match value.split_once(char::is_whitespace) {
        Some((word, rest)) if rest.trim_start().starts_with(['#', ';']) => word,
        _ => value,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "AKIAIOSFODNN7EXAMPLE";
    const SECRET: &str = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";

    fn read(text: &str, profile: &str) -> Result<(String, String, Option<String>), String> {
        Credentials::in_file(text.as_bytes(), profile)
            .map(|c| {
                let token = c.session_token().map(str::to_owned);
                (c.access_key_id().to_owned(), c.secret_access_key().to_owned(), token)
            })
            .map_err(|e| e.to_string())
    }

    #[test]
    fn profiles_are_read_as_by_aws_tools() {
        for text in [
            "[default]\naws_access_key_id=ID\naws_secret_access_key=SECRET\n",
            "[default]\naws_access_key_id = ID\naws_secret_access_key = SECRET",
            "[default]\r\naws_access_key_id = ID\r\naws_secret_access_key = SECRET\r\n",
            "# c\n; c\n\n[ default ] # c\nAWS_ACCESS_KEY_ID=ID\nAws_Secret_Access_Key=SECRET",
            "[default]\n  aws_access_key_id = ID\n  aws_secret_access_key = SECRET",
            "[default]\naws_access_key_id=ID # c\naws_secret_access_key\t=\tSECRET\t; c",
            "[default]\naws_access_key_id: ID\naws_secret_access_key: SECRET",
            "[other]\naws_access_key_id=x\naws_secret_access_key=y\n\
             [default]\naws_access_key_id=ID\naws_secret_access_key=SECRET\n\
             [more]\naws_access_key_id=x\naws_session_token=y",
            "[default]\naws_access_key_id=ID\n[x]\n[default]\naws_secret_access_key=SECRET",
            "[default]\naws_access_key_id=old\naws_access_key_id=ID\naws_secret_access_key=SECRET",
            "[default]\nregion=eu-west-1\ns3 =\n  aws_access_key_id = nested\n  x = y\n\
             aws_access_key_id=ID\naws_secret_access_key=SECRET",
        ] {
            let text = text.replace("ID", ID).replace("SECRET", SECRET);
            let text = text.replace("AWS_ACCESS_KEY_AKIAIOSFODNN7EXAMPLE", "AWS_ACCESS_KEY_ID");
            assert_eq!(read(&text, "default"), Ok((ID.into(), SECRET.into(), None)), "{text}");
        }
        let text = "[a b]\naws_access_key_id=i\naws_secret_access_key=s=#;\naws_session_token=t==";
        assert_eq!(read(text, "a b"), Ok(("i".into(), "s=#;".into(), Some("t==".into()))));
    }

    #[test]
    fn what_is_wrong_is_told_without_a_value() {
        const NONE: &str = "is not one: it is empty or has white space or another byte that none \
                            has; copy it again";
        for (text, expected) in [
            (
                "",
                "there is no such profile (\"default\", if none is named); add it or name another \
                 with \"profile=\""
                    .to_owned(),
            ),
            ("[P]\n[p ", "the profile has no aws_access_key_id; add it".into()),
            ("[p]\nrole_arn=x", "the profile has no aws_access_key_id; add it".into()),
            ("[p]\naws_access_key_id=x", "the profile has no aws_secret_access_key; add it".into()),
            (
                "[p]\naws_access_key_id=\naws_secret_access_key=y",
                format!("the access key ID {NONE}"),
            ),
            (
                "[p]\naws_access_key_id=a/b\naws_secret_access_key=y",
                format!("the access key ID {NONE}"),
            ),
            (
                "[p]\naws_access_key_id=x\n  more\naws_secret_access_key=y",
                format!("the access key ID {NONE}"),
            ),
            (
                "[p]\naws_access_key_id=x\naws_secret_access_key=y z",
                format!("the secret access key {NONE}"),
            ),
            (
                "[p]\naws_access_key_id=x\naws_secret_access_key=\u{fc}",
                format!("the secret access key {NONE}"),
            ),
            (
                "[p]\naws_access_key_id=x\naws_secret_access_key=# c",
                format!("the secret access key {NONE}"),
            ),
            (
                "[p]\naws_access_key_id=x\naws_secret_access_key=y\naws_session_token=",
                format!("the session token {NONE}"),
            ),
        ] {
            assert_eq!(read(text, "p"), Err(expected), "{text}");
        }
        let not_text = Credentials::in_file(b"[p]\n\xff", "p").err();
        assert!(not_text == Some(CredentialsError::NotText));
    }
}
