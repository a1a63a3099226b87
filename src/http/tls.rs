//! TLS for those who have no proxy: a certificate and its key from two files, read again when they
//! change. Files that cannot be used leave the ones before in force, and are told of.
//!
//! TLS 1.2 and 1.3, HTTP/1.1 alone. Connections that are open keep what they began with.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::version::{TLS12, TLS13};
use tokio_rustls::TlsAcceptor;

/// Why a certificate cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{}: {why}", path.display())]
    File { path: PathBuf, why: String },
    #[error("{} and {} cannot be used together: {why}", certificate.display(), key.display())]
    Pair { certificate: PathBuf, key: PathBuf, why: Box<rustls::Error> },
}

/// A certificate in use, and where it came from.
pub struct Certificate {
    chain: PathBuf,
    key: PathBuf,
    in_use: ArcSwap<ServerConfig>,
    /// What the files looked like when they were last read.
    seen: Mutex<Look>,
}

/// How a file would show that it was written: when, and its size.
type Look = [Option<(SystemTime, u64)>; 2];

impl Certificate {
    /// Reads a chain of certificates and the key of the first, both PEM.
    pub fn load(certificate: &Path, key: &Path) -> Result<Self, Error> {
        let seen = Mutex::new(look(certificate, key));
        let in_use = ArcSwap::new(read(certificate, key)?);
        Ok(Self { chain: certificate.into(), key: key.into(), in_use, seen })
    }

    /// Reads the files again. New connections use what they hold.
    pub fn reload(&self) -> Result<(), Error> {
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = look(&self.chain, &self.key);
        match read(&self.chain, &self.key) {
            Ok(config) => {
                self.in_use.store(config);
                tracing::info!(certificate = %self.chain.display(), "certificate in force");
                Ok(())
            }
            Err(error) => {
                tracing::error!(%error, "the certificate cannot be used; the one in force stays");
                Err(error)
            }
        }
    }

    /// Reads the files again where they changed since they were last read. Answers whether they did.
    pub fn refresh(&self) -> bool {
        let now = look(&self.chain, &self.key);
        let changed = *self.seen.lock().unwrap_or_else(PoisonError::into_inner) != now;
        // Told where it happens. A pair that is half written is read once more when it is whole.
        changed && self.reload().is_ok()
    }

    pub(super) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(self.in_use.load_full())
    }
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Certificate({})", self.chain.display())
    }
}

fn look(certificate: &Path, key: &Path) -> Look {
    [certificate, key].map(|path| {
        let file = fs::metadata(path).ok()?;
        Some((file.modified().ok()?, file.len()))
    })
}

fn read(certificate: &Path, key: &Path) -> Result<Arc<ServerConfig>, Error> {
    let file = |path: &Path, why: &dyn fmt::Display| Error::File {
        path: path.to_path_buf(),
        why: why.to_string(),
    };
    let chain: Vec<_> = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect)
        .map_err(|why| file(certificate, &why))?;
    if chain.is_empty() {
        return Err(file(certificate, &"holds no certificate in PEM form"));
    }
    let secret = PrivateKeyDer::from_pem_file(key).map_err(|why| file(key, &why))?;
    let pair =
        |why| Error::Pair { certificate: certificate.into(), key: key.into(), why: Box::new(why) };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13, &TLS12])
        .map_err(pair)?
        .with_no_client_auth()
        .with_single_cert(chain, secret)
        .map_err(pair)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(folder: &Path, name: &str) {
        let pair = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
        fs::write(folder.join("key.pem"), pair.signing_key.serialize_pem()).unwrap();
        fs::write(folder.join("cert.pem"), pair.cert.pem()).unwrap();
    }

    #[test]
    fn files_are_read_again_when_they_changed_and_only_then() {
        let folder = tempfile::tempdir().unwrap();
        let (cert, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
        write(folder.path(), "one.example");
        let certificate = Certificate::load(&cert, &key).unwrap();
        assert!(!certificate.refresh());
        write(folder.path(), "another-and-longer-one.example");
        assert!(certificate.refresh());
        assert!(!certificate.refresh());
        let in_use = certificate.in_use.load_full();
        fs::write(&cert, "nonsense").unwrap();
        assert!(!certificate.refresh());
        assert!(Arc::ptr_eq(&in_use, &certificate.in_use.load_full()));
        write(folder.path(), "third.example");
        assert!(certificate.refresh());
    }

    #[test]
    fn what_is_wrong_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let (cert, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
        let said = |cert: &Path, key: &Path| Certificate::load(cert, key).unwrap_err().to_string();
        assert!(said(&cert, &key).contains("cert.pem"));
        write(folder.path(), "one.example");
        fs::write(&key, "").unwrap();
        assert!(said(&cert, &key).contains("key.pem"));
        write(folder.path(), "one.example");
        let other = folder.path().join("other.pem");
        fs::copy(&key, &other).unwrap();
        write(folder.path(), "two.example");
        assert!(said(&cert, &other).contains("cannot be used together"));
    }
}
