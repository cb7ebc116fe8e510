//! A CA of one's own: three commands, and both gateways have a certificate that the other believes.

use interop::{Certificates, End, Implementation, Lab, Result};

use crate::terminal::{Style, WIDTH, heading, indented, styled, wrapped};

/// The file with the CA's certificate.
const CA: &str = "ca/ca.crt";

/// Makes the CA and the certificates, and hands them to both gateways.
pub(crate) fn play(lab: &Lab, peer: Implementation) -> Result<()> {
    heading("A CA of one's own");
    let certificates = Certificates::new(lab)?;
    step(
        &certificates,
        &["ca", "ca", "C=CH, O=Example, CN=Example CA"],
        "A directory with the CA's private key and its certificate, which it has signed itself. Whoever trusts the \
         certificate believes whatever the CA certifies.",
    )?;
    for end in [End::A, End::B] {
        let name = format!("{end}.example.org");
        step(
            &certificates,
            &["issue", "ca", &name],
            &format!("A private key for gateway {end}, and a certificate in which the CA says whose it is."),
        )?;
        hand_over(lab, &certificates, end, if end == End::A { Implementation::Keyway } else { peer })?;
    }
    println!("  What gateway a will show to b:\n");
    indented(&certificates.make(&["show", &certificate(End::A)])?, 4);
    say(
        "Each gateway has its own key and certificate in private/ and x509/ beside its configuration, and the CA's \
         certificate in x509ca/. No gateway has a secret of the other.",
    );
    Ok(())
}

/// The file with the certificate of a gateway.
pub(crate) fn certificate(end: End) -> String {
    format!("{end}.example.org.crt")
}

fn step(certificates: &Certificates, command: &[&str], why: &str) -> Result<()> {
    let shown: Vec<String> = command
        .iter()
        .map(|word| if word.contains(' ') { format!("\"{word}\"") } else { (*word).to_owned() })
        .collect();
    println!("  $ keyway pki {}\n", shown.join(" "));
    certificates.make(command)?;
    say(why);
    Ok(())
}

fn say(text: &str) {
    for line in wrapped(text, WIDTH - 4) {
        println!("  {}", styled(Style::Dim, &line));
    }
    println!();
}

fn hand_over(lab: &Lab, certificates: &Certificates, end: End, daemon: Implementation) -> Result<()> {
    let directory = lab.directory().join(match daemon {
        Implementation::Keyway => format!("keyway-{end}"),
        Implementation::StrongSwan | Implementation::StrongSwan6 => format!("strongswan-{end}"),
    });
    certificates.give_to(&directory.join("x509ca"), CA)?;
    certificates.give_to(&directory.join("x509"), &certificate(end))?;
    certificates.give_to(&directory.join("private"), &format!("{end}.example.org.key"))
}
