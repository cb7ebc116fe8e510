//! OpenSSL's command line, in a directory of its own.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::corpus::Template;

/// Runs OpenSSL, and remembers what it has made.
pub(crate) struct OpenSsl {
    directory: PathBuf,
    /// The certificates that were made, by all that went into them.
    made: RefCell<BTreeMap<String, PathBuf>>,
}

impl OpenSsl {
    /// Makes an empty directory.
    pub(crate) fn new(name: &str) -> OpenSsl {
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("corpus-{name}"));
        drop(fs::remove_dir_all(&directory));
        fs::create_dir_all(&directory).unwrap();
        OpenSsl { directory, made: RefCell::default() }
    }

    /// How many certificates were made.
    pub(crate) fn made(&self) -> usize {
        self.made.borrow().len()
    }

    /// Runs a command, and gives its output, or what it complains about.
    pub(crate) fn run(&self, arguments: &[&str]) -> Result<String, String> {
        let output = Command::new("openssl")
            .args(arguments)
            .current_dir(&self.directory)
            .output()
            .unwrap_or_else(|error| panic!("the corpus needs the program openssl: {error}"));
        let text = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
        if output.status.success() {
            Ok(text(&output.stdout))
        } else {
            Err(text(&output.stdout) + &text(&output.stderr))
        }
    }

    /// The path of a file in the directory.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// Makes a certificate, unless the same was made before, and gives its file in PEM.
    pub(crate) fn certificate(&self, template: &Template, issuer: Option<&Made>) -> Made {
        let key = self.key(template.value("key").unwrap_or("p256"), &template.name);
        let recipe = format!("{template:?} {key:?} {issuer:?}");
        if let Some(file) = self.made.borrow().get(&recipe) {
            return Made { file: file.clone(), key };
        }
        let number = self.made() + 1;
        let file = self.path(&format!("{number}.pem"));
        let configuration = self.configuration(template, number);
        let file_text = file.to_str().unwrap().to_owned();
        let key_text = key.to_str().unwrap().to_owned();
        let serial = number.to_string();
        let days = template.value("days").unwrap_or("365");
        let digest = format!("-{}", template.value("digest").unwrap_or("sha256"));
        let config = configuration.to_str().unwrap();
        let mut arguments = vec![
            "req",
            "-x509",
            "-new",
            "-utf8",
            "-batch",
            "-config",
            config,
            "-key",
            &key_text,
            "-subj",
            &template.subject,
            "-set_serial",
            &serial,
            "-days",
            days,
            "-out",
            &file_text,
            &digest,
        ];
        let (issuer_file, issuer_key);
        if let Some(issuer) = issuer {
            issuer_file = issuer.file.to_str().unwrap().to_owned();
            issuer_key = issuer.key.to_str().unwrap().to_owned();
            arguments.extend(["-CA", &issuer_file, "-CAkey", &issuer_key]);
        }
        if let Some(option) = template.value("sigopt") {
            arguments.extend(option.split(',').flat_map(|option| ["-sigopt", option]));
        }
        self.run(&arguments).unwrap_or_else(|complaint| panic!("{template:?}: {complaint}"));
        if template.has("v1") {
            self.version_1(template, &file, &key, issuer);
        }
        self.made.borrow_mut().insert(recipe, file.clone());
        Made { file, key }
    }

    /// Makes a certificate of version 1, which is what a request without extensions gives.
    fn version_1(&self, template: &Template, file: &Path, key: &Path, issuer: Option<&Made>) {
        let (file, key) = (file.to_str().unwrap(), key.to_str().unwrap());
        let request = self.run(&["req", "-new", "-batch", "-key", key, "-subj", &template.subject]).unwrap();
        let request_file = self.path("request");
        fs::write(&request_file, request).unwrap();
        let mut arguments =
            vec!["x509", "-req", "-in", request_file.to_str().unwrap(), "-out", file, "-days", "365"];
        let (issuer_file, issuer_key);
        match issuer {
            None => arguments.extend(["-signkey", key]),
            Some(issuer) => {
                issuer_file = issuer.file.to_str().unwrap().to_owned();
                issuer_key = issuer.key.to_str().unwrap().to_owned();
                arguments.extend(["-CA", &issuer_file, "-CAkey", &issuer_key, "-set_serial", "77"]);
            }
        }
        self.run(&arguments).unwrap();
    }

    fn configuration(&self, template: &Template, number: usize) -> PathBuf {
        let mut text =
            String::from("[req]\ndistinguished_name = dn\nprompt = no\nx509_extensions = extensions\n[dn]\n");
        text.push_str("[extensions]\n");
        // A value of several lines brings its own sections along, which begin with a bracket.
        let mut sections = String::new();
        for (name, value) in template.extensions.iter().filter(|(_, value)| !value.is_empty()) {
            match value.split_once(" ; ") {
                Some((value, rest)) => {
                    writeln!(text, "{name} = {value}").unwrap();
                    writeln!(sections, "{}", rest.replace(" ; ", "\n")).unwrap();
                }
                None => writeln!(text, "{name} = {value}").unwrap(),
            }
        }
        let file = self.path(&format!("{number}.cnf"));
        fs::write(&file, text + &sections).unwrap();
        file
    }

    /// Makes a key, unless it was made before. `KIND:NAME` shares a key between certificates.
    pub(crate) fn key(&self, wanted: &str, owner: &str) -> PathBuf {
        let (kind, name) = wanted.split_once(':').unwrap_or((wanted, owner));
        let file = self.path(&format!("{kind}-{name}.key"));
        if file.exists() {
            return file;
        }
        let curve = |name: &str| format!("ec_paramgen_curve:{name}");
        let (algorithm, option) = match kind {
            "p256" => ("EC", Some(curve("P-256"))),
            "p384" => ("EC", Some(curve("P-384"))),
            "p521" => ("EC", Some(curve("P-521"))),
            "secp256k1" => ("EC", Some(curve("secp256k1"))),
            "brainpoolP256r1" | "brainpoolP384r1" | "brainpoolP512r1" => ("EC", Some(curve(kind))),
            "ed25519" => ("ED25519", None),
            "ed448" => ("ED448", None),
            "rsapss" => ("RSA-PSS", Some("rsa_keygen_bits:2048".to_owned())),
            bits => ("RSA", Some(format!("rsa_keygen_bits:{}", bits.trim_start_matches("rsa")))),
        };
        let mut arguments = vec!["genpkey", "-algorithm", algorithm, "-out", file.to_str().unwrap()];
        if let Some(option) = &option {
            arguments.extend(["-pkeyopt", option]);
        }
        self.run(&arguments).unwrap_or_else(|complaint| panic!("{wanted}: {complaint}"));
        file
    }
}

/// A certificate that was made, and its key.
#[derive(Clone, Debug)]
pub(crate) struct Made {
    pub(crate) file: PathBuf,
    pub(crate) key: PathBuf,
}
