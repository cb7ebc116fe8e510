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
    let named = named.into_iter().chain(["gw.example.com", "GW.Example.com", "vpn@example.com", "192.0.2.1"]);
    for identity in named.chain(["2001:db8::1", &format!("keyid:#{key_id}")]) {
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
