//! What a message is for, what it holds, and which protocol it speaks of.

use super::registry;

registry! {
    /// The type of a payload, in the field that announces it (RFC 7296 §3.2). IKEv1's types (below
    /// 33, and private ones from 128) and IKEv2's do not overlap, so one type serves both versions.
    PayloadType(u8) {
        NONE = 0, "No Next Payload", "RFC 7296 §3.2";
        V1_SECURITY_ASSOCIATION = 1, "SA (IKEv1)", "RFC 2408 §3.4";
        V1_PROPOSAL = 2, "P (IKEv1)", "RFC 2408 §3.5";
        V1_TRANSFORM = 3, "T (IKEv1)", "RFC 2408 §3.6";
        V1_KEY_EXCHANGE = 4, "KE (IKEv1)", "RFC 2408 §3.7";
        V1_IDENTIFICATION = 5, "ID (IKEv1)", "RFC 2408 §3.8";
        V1_CERTIFICATE = 6, "CERT (IKEv1)", "RFC 2408 §3.9";
        V1_CERTIFICATE_REQUEST = 7, "CR (IKEv1)", "RFC 2408 §3.10";
        V1_HASH = 8, "HASH (IKEv1)", "RFC 2408 §3.11";
        V1_SIGNATURE = 9, "SIG (IKEv1)", "RFC 2408 §3.12";
        V1_NONCE = 10, "NONCE (IKEv1)", "RFC 2408 §3.13";
        V1_NOTIFICATION = 11, "N (IKEv1)", "RFC 2408 §3.14";
        V1_DELETE = 12, "D (IKEv1)", "RFC 2408 §3.15";
        V1_VENDOR_ID = 13, "VID (IKEv1)", "RFC 2408 §3.16";
        V1_ATTRIBUTES = 14, "ATTR (IKEv1)", "draft-dukes-ike-mode-cfg §3.2";
        V1_NAT_DISCOVERY = 20, "NAT-D (IKEv1)", "RFC 3947 §3.2";
        V1_NAT_ORIGINAL_ADDRESS = 21, "NAT-OA (IKEv1)", "RFC 3947 §5.2";
        SECURITY_ASSOCIATION = 33, "SA", "RFC 7296 §3.3";
        KEY_EXCHANGE = 34, "KE", "RFC 7296 §3.4";
        IDENTIFICATION_INITIATOR = 35, "IDi", "RFC 7296 §3.5";
        IDENTIFICATION_RESPONDER = 36, "IDr", "RFC 7296 §3.5";
        CERTIFICATE = 37, "CERT", "RFC 7296 §3.6";
        CERTIFICATE_REQUEST = 38, "CERTREQ", "RFC 7296 §3.7";
        AUTHENTICATION = 39, "AUTH", "RFC 7296 §3.8";
        NONCE = 40, "Nonce", "RFC 7296 §3.9";
        NOTIFY = 41, "N", "RFC 7296 §3.10";
        DELETE = 42, "D", "RFC 7296 §3.11";
        VENDOR_ID = 43, "V", "RFC 7296 §3.12";
        TRAFFIC_SELECTORS_INITIATOR = 44, "TSi", "RFC 7296 §3.13";
        TRAFFIC_SELECTORS_RESPONDER = 45, "TSr", "RFC 7296 §3.13";
        ENCRYPTED = 46, "SK", "RFC 7296 §3.14";
        CONFIGURATION = 47, "CP", "RFC 7296 §3.15";
        EAP = 48, "EAP", "RFC 7296 §3.16";
        GENERIC_SECURE_PASSWORD = 49, "GSPM", "RFC 6467 §3";
        GROUP_IDENTIFICATION = 50, "IDg", "RFC 9838";
        GROUP_SECURITY_ASSOCIATION = 51, "GSA", "RFC 9838";
        KEY_DOWNLOAD = 52, "KD", "RFC 9838";
        ENCRYPTED_FRAGMENT = 53, "SKF", "RFC 7383 §2.5";
        PUZZLE_SOLUTION = 54, "PS", "RFC 8019 §8.2";
        V1_NAT_DISCOVERY_DRAFT = 130, "NAT-D (IKEv1, draft)", "draft-ietf-ipsec-nat-t-ike-02 §3.2";
        V1_NAT_ORIGINAL_ADDRESS_DRAFT = 131, "NAT-OA (IKEv1, draft)", "draft-ietf-ipsec-nat-t-ike-02 §5.2";
        V1_FRAGMENT = 132, "FRAG (IKEv1)", "Cisco IKE fragmentation";
    }
}

registry! {
    /// What the exchange is for that a message belongs to (RFC 7296 §3.1). IKEv1's types (below 34)
    /// and IKEv2's do not overlap.
    ExchangeType(u8) {
        V1_BASE = 1, "Base (IKEv1)", "RFC 2408 §4.4";
        V1_IDENTITY_PROTECTION = 2, "Identity Protection (IKEv1)", "RFC 2408 §4.5";
        V1_AUTHENTICATION_ONLY = 3, "Authentication Only (IKEv1)", "RFC 2408 §4.6";
        V1_AGGRESSIVE = 4, "Aggressive (IKEv1)", "RFC 2408 §4.7";
        V1_INFORMATIONAL = 5, "Informational (IKEv1)", "RFC 2408 §4.8";
        V1_TRANSACTION = 6, "Transaction (IKEv1)", "draft-dukes-ike-mode-cfg §3.1";
        V1_QUICK_MODE = 32, "Quick Mode (IKEv1)", "RFC 2409 §5.5";
        V1_NEW_GROUP_MODE = 33, "New Group Mode (IKEv1)", "RFC 2409 §5.6";
        IKE_SA_INIT = 34, "IKE_SA_INIT", "RFC 7296 §1.2";
        IKE_AUTH = 35, "IKE_AUTH", "RFC 7296 §1.2";
        CREATE_CHILD_SA = 36, "CREATE_CHILD_SA", "RFC 7296 §1.3";
        INFORMATIONAL = 37, "INFORMATIONAL", "RFC 7296 §1.4";
        IKE_SESSION_RESUME = 38, "IKE_SESSION_RESUME", "RFC 5723 §4.3.2";
        GSA_AUTH = 39, "GSA_AUTH", "RFC 9838";
        GSA_REGISTRATION = 40, "GSA_REGISTRATION", "RFC 9838";
        GSA_REKEY = 41, "GSA_REKEY", "RFC 9838";
        IKE_INTERMEDIATE = 43, "IKE_INTERMEDIATE", "RFC 9242 §3.2";
        IKE_FOLLOWUP_KE = 44, "IKE_FOLLOWUP_KE", "RFC 9370 §2.2.4";
    }
}

registry! {
    /// The protocol that a proposal, notify or delete speaks of (RFC 7296 §3.3.1).
    ProtocolId(u8) {
        NONE = 0, "none", "RFC 7296 §3.10";
        IKE = 1, "IKE", "RFC 7296 §3.3.1";
        AH = 2, "AH", "RFC 7296 §3.3.1";
        ESP = 3, "ESP", "RFC 7296 §3.3.1";
        FC_ESP_HEADER = 4, "FC_ESP_HEADER", "RFC 4595";
        FC_CT_AUTHENTICATION = 5, "FC_CT_AUTHENTICATION", "RFC 4595";
    }
}
