//! The files that a URL names for TLS, and what helps against a certificate that is refused.

use std::path::PathBuf;

use super::{Error, ErrorKind, Result};

/// How a kind of database calls in its URLs what there is to say about TLS.
pub struct Terms {
    /// Names the file of certificates that are trusted.
    pub ca: &'static str,
    /// Asks for a certificate that is verified, but for the name of the host.
    pub no_name: &'static str,
}

/// A file that a URL names.
#[derive(Clone)]
pub struct File {
    /// As the URL calls it.
    pub parameter: String,
    pub path: PathBuf,
    /// Whether it is the one of certificates that are trusted.
    pub is_ca: bool,
}

impl File {
    /// `None` where the URL holds what else stands in a file.
    pub fn named(parameter: &str, value: &str, is_ca: bool) -> Option<File> {
        (!is_inline(value)).then(|| File { parameter: parameter.to_owned(), path: value.into(), is_ca })
    }

    /// Fails, with its name, if it cannot be read, or trusts nobody.
    pub fn check(&self) -> Result<()> {
        let File { parameter, path, is_ca } = self;
        let shown = path.display();
        let wrong = |why: String| Error::new(ErrorKind::Lost, why);
        let content = std::fs::read(path)
            .map_err(|why| wrong(format!("the file {shown}, which `{parameter}` names, cannot be read: {why}")))?;
        let is_there = |mark: &[u8]| content.windows(mark.len()).any(|part| part == mark);
        if *is_ca && !is_there(b"-----BEGIN CERTIFICATE-----") {
            return Err(wrong(format!(
                "the file {shown}, which `{parameter}` names, holds no certificate; name the file of the certificate \
                 authority, in PEM: lines from BEGIN CERTIFICATE to END CERTIFICATE"
            )));
        }
        Ok(())
    }
}

/// Whether a certificate or a key stands in the place of the name of its file.
pub fn is_inline(value: &str) -> bool {
    value.trim().starts_with("-----BEGIN")
}

/// What to do about an error that may say that the server's certificate is refused. `ca` is the file that the URL names.
pub fn remedy(why: &str, terms: &Terms, ca: Option<&File>) -> String {
    let Some(why) = why.strip_prefix("invalid peer certificate: ") else { return String::new() };
    let Terms { ca: option, no_name } = terms;
    if why.contains("not valid for name") || why.starts_with("NotValidForName") {
        return format!(
            "; name the host in the URL as the certificate does, or append {no_name} to verify who has signed it and not \
             its name"
        );
    }
    if why.contains("expired") || why.contains("not valid yet") {
        return "; give the server a certificate that is valid now, or set the clock right".to_owned();
    }
    match ca {
        None => format!(
            "; it is signed by nobody whom this machine trusts: append {option}=FILE to the URL, with the certificate of the \
             authority that has signed it"
        ),
        Some(File { parameter, path, .. }) => format!(
            "; it is signed neither by {}, which `{parameter}` names, nor by anybody else whom this machine trusts: name the \
             certificate of the authority that has",
            path.display()
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_not_there_or_trusts_nobody_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let said = |name: &str, is_ca: bool| {
            let path = folder.path().join(name);
            let file = File::named("sslrootcert", path.to_str().unwrap(), is_ca).unwrap();
            file.check().map_err(|why| why.to_string().replace(path.to_str().unwrap(), name))
        };
        std::fs::write(folder.path().join("ca.csr"), "-----BEGIN CERTIFICATE REQUEST-----\n").unwrap();
        std::fs::write(folder.path().join("ca.crt"), "Subject: x\n-----BEGIN CERTIFICATE-----\n").unwrap();
        let why = said("none.crt", true).unwrap_err();
        assert!(why.starts_with("the file none.crt, which `sslrootcert` names, cannot be read: No such file"), "{why}");
        let why = said("ca.csr", true).unwrap_err();
        assert!(why.starts_with("the file ca.csr, which `sslrootcert` names, holds no certificate"), "{why}");
        assert!(said("ca.csr", false).is_ok() && said("ca.crt", true).is_ok() && said("none.key", false).is_err());
        assert!(File::named("sslrootcert", "-----BEGIN CERTIFICATE-----\n…", true).is_none());
    }

    #[test]
    fn a_certificate_that_is_refused_has_a_remedy() {
        let terms = Terms { ca: "sslrootcert", no_name: "sslmode=verify-ca" };
        let ca = File::named("ssl-ca", "ca.crt", true);
        let said = |why: &str, ca| remedy(&format!("invalid peer certificate: {why}"), &terms, ca);
        assert!(said("UnknownIssuer", None).contains("append sslrootcert=FILE"));
        assert!(said("BadSignature", ca.as_ref()).contains("neither by ca.crt, which `ssl-ca` names"));
        let name = r#"certificate not valid for name "127.0.0.1"; certificate is only valid for db.example"#;
        assert!(said(name, None).contains("append sslmode=verify-ca"));
        assert!(said("certificate expired: verification time 2", None).contains("valid now"));
        assert_eq!(remedy("Connection refused (os error 111)", &terms, None), "");
    }
}
