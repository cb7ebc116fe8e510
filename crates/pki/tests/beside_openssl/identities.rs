//! Who a certificate is for.

use crate::openssl::OpenSsl;
use crate::{chain, corpus};

#[test]
fn an_identity_is_in_the_certificate_or_the_refusal_names_who_is() {
    let openssl = OpenSsl::new("identities");
    let cases = corpus::read(
        "\n== identities\nend\n  subject = /C=CH/O=Example/CN=gw.example.org\n  subjectAltName = DNS:gw.example.com, \
         email:vpn@example.com, IP:192.0.2.1, IP:2001:db8::1\n",
    );
    let [end] = cases[0].certificates.as_slice() else { panic!("one certificate") };
    let certificate = chain::read(&openssl.certificate(end, None).file).unwrap();
    let key_id = hex::encode(certificate.subject_key_id().unwrap());
    let named = ["C=CH, O=Example, CN=gw.example.org", "c=ch, o=EXAMPLE, cn=gw.example.org"];
    let named =
        named.into_iter().chain(["gw.example.com", "GW.Example.com", "vpn@example.com", "VPN@Example.com"]);
    for identity in named.chain(["192.0.2.1", "2001:db8::1", &format!("keyid:#{key_id}")]) {
        let identity = sa::Identity::parse(identity).unwrap();
        assert_eq!(pki::certifies(&certificate, &identity), Ok(()));
    }
    // A CN is no domain name, and parts of names are no names.
    let strangers = ["gw.example.org", "example.com", "a.gw.example.com", "VPN2@example.com", "192.0.2.2"];
    for identity in strangers.into_iter().chain(["O=Example, CN=gw.example.org", "keyid:gw", "asn1dn:#3000"])
    {
        let identity = sa::Identity::parse(identity).unwrap();
        assert_eq!(
            pki::certifies(&certificate, &identity).unwrap_err().to_string(),
            format!(
                "identity {identity} is not in the certificate, which names C=CH, O=Example, CN=gw.example.org, \
                 gw.example.com, vpn@example.com, 192.0.2.1, 2001:db8::1"
            )
        );
    }
}

/// RFC 4945 §3.1.2, §3.1.3: what stands for many names elsewhere is one name here, which nobody has.
#[test]
fn a_wildcard_in_a_certificate_is_a_name_like_any_other() {
    let openssl = OpenSsl::new("wildcards");
    let cases =
        corpus::read("\n== wildcards\nend\n  subjectAltName = DNS:*.example.com, email:*@example.com\n");
    let [end] = cases[0].certificates.as_slice() else { panic!("one certificate") };
    let certificate = chain::read(&openssl.certificate(end, None).file).unwrap();
    for identity in ["gw.example.com", "a.gw.example.com", "example.com", "vpn@example.com"] {
        let identity = sa::Identity::parse(identity).unwrap();
        assert!(pki::certifies(&certificate, &identity).is_err(), "{identity}");
    }
    let itself = sa::Identity::Fqdn("*.example.com".to_owned());
    assert_eq!(pki::certifies(&certificate, &itself), Ok(()));
}

/// RFC 4945 §3.1.5: whoever takes its identity from its certificate says the subject octet by octet, and never an empty one.
#[test]
fn what_a_certificate_names_is_said_as_it_stands() {
    let openssl = OpenSsl::new("said-as-it-stands");
    let cases = corpus::read(
        "\n== subjects\nwith\n  subject = /C=CH/O=Example/CN=gw\n  subjectAltName = DNS:gw.example\n\
         without\n  subject = /\n  subjectAltName = critical, DNS:gw.example\n",
    );
    let certificates = &cases[0].certificates;
    let [with, without] =
        [0, 1].map(|n| chain::read(&openssl.certificate(&certificates[n], None).file).unwrap());
    let first = pki::identities(&with).remove(0).to_wire();
    assert_eq!((first.id_type.0, first.data.as_slice()), (9, with.subject().to_der()));
    let fqdn = sa::Identity::Fqdn("gw.example".to_owned());
    assert_eq!(pki::identities(&with)[1..], *std::slice::from_ref(&fqdn));
    assert_eq!(pki::identities(&without), [fqdn]);
}
