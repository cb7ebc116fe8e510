//! What Mode Config, XAuth and Cisco's Unity carry (draft-dukes-ike-mode-cfg §3, draft-beaulieu-ike-xauth §6.2).

use super::registry;

registry! {
    /// Whether an Attributes payload asks, answers, imposes or accepts (draft-dukes-ike-mode-cfg §3.2).
    ConfigurationType(u8) {
        REQUEST = 1, "ISAKMP_CFG_REQUEST", "draft-dukes-ike-mode-cfg §3.2";
        REPLY = 2, "ISAKMP_CFG_REPLY", "draft-dukes-ike-mode-cfg §3.2";
        SET = 3, "ISAKMP_CFG_SET", "draft-dukes-ike-mode-cfg §3.2";
        ACK = 4, "ISAKMP_CFG_ACK", "draft-dukes-ike-mode-cfg §3.2";
    }
}

registry! {
    /// What an attribute of an Attributes payload is about; 15 bits.
    ConfigurationAttributeType(u16) {
        INTERNAL_IP4_ADDRESS = 1, "INTERNAL_IP4_ADDRESS", "draft-dukes-ike-mode-cfg §3.3";
        INTERNAL_IP4_NETMASK = 2, "INTERNAL_IP4_NETMASK", "draft-dukes-ike-mode-cfg §3.3";
        INTERNAL_IP4_DNS = 3, "INTERNAL_IP4_DNS", "draft-dukes-ike-mode-cfg §3.3";
        INTERNAL_IP4_NBNS = 4, "INTERNAL_IP4_NBNS", "draft-dukes-ike-mode-cfg §3.3";
        INTERNAL_ADDRESS_EXPIRY = 5, "INTERNAL_ADDRESS_EXPIRY", "draft-dukes-ike-mode-cfg §3.3";
        INTERNAL_IP4_DHCP = 6, "INTERNAL_IP4_DHCP", "draft-dukes-ike-mode-cfg §3.3";
        APPLICATION_VERSION = 7, "APPLICATION_VERSION", "draft-dukes-ike-mode-cfg §3.3";
        INTERNAL_IP6_ADDRESS = 8, "INTERNAL_IP6_ADDRESS", "draft-dukes-ike-mode-cfg §3.3";
        INTERNAL_IP6_NETMASK = 9, "INTERNAL_IP6_NETMASK", "draft-dukes-ike-mode-cfg §3.3";
        INTERNAL_IP6_DNS = 10, "INTERNAL_IP6_DNS", "draft-dukes-ike-mode-cfg §3.3";
        INTERNAL_IP6_NBNS = 11, "INTERNAL_IP6_NBNS", "draft-dukes-ike-mode-cfg §3.3";
        INTERNAL_IP6_DHCP = 12, "INTERNAL_IP6_DHCP", "draft-dukes-ike-mode-cfg §3.3";
        INTERNAL_IP4_SUBNET = 13, "INTERNAL_IP4_SUBNET", "draft-dukes-ike-mode-cfg §3.3";
        SUPPORTED_ATTRIBUTES = 14, "SUPPORTED_ATTRIBUTES", "draft-dukes-ike-mode-cfg §3.3";
        INTERNAL_IP6_SUBNET = 15, "INTERNAL_IP6_SUBNET", "draft-dukes-ike-mode-cfg §3.3";
        XAUTH_TYPE = 16520, "XAUTH-TYPE", "draft-beaulieu-ike-xauth §6.2";
        XAUTH_USER_NAME = 16521, "XAUTH-USER-NAME", "draft-beaulieu-ike-xauth §6.2";
        XAUTH_USER_PASSWORD = 16522, "XAUTH-USER-PASSWORD", "draft-beaulieu-ike-xauth §6.2";
        XAUTH_PASSCODE = 16523, "XAUTH-PASSCODE", "draft-beaulieu-ike-xauth §6.2";
        XAUTH_MESSAGE = 16524, "XAUTH-MESSAGE", "draft-beaulieu-ike-xauth §6.2";
        XAUTH_CHALLENGE = 16525, "XAUTH-CHALLENGE", "draft-beaulieu-ike-xauth §6.2";
        XAUTH_DOMAIN = 16526, "XAUTH-DOMAIN", "draft-beaulieu-ike-xauth §6.2";
        XAUTH_STATUS = 16527, "XAUTH-STATUS", "draft-beaulieu-ike-xauth §6.2";
        XAUTH_NEXT_PIN = 16528, "XAUTH-NEXT-PIN", "draft-beaulieu-ike-xauth §6.2";
        XAUTH_ANSWER = 16529, "XAUTH-ANSWER", "draft-beaulieu-ike-xauth §6.2";
        UNITY_BANNER = 28672, "UNITY_BANNER", "Cisco Unity";
        UNITY_SAVE_PASSWORD = 28673, "UNITY_SAVE_PASSWD", "Cisco Unity";
        UNITY_DEFAULT_DOMAIN = 28674, "UNITY_DEF_DOMAIN", "Cisco Unity";
        UNITY_SPLIT_DNS = 28675, "UNITY_SPLITDNS_NAME", "Cisco Unity";
        UNITY_SPLIT_INCLUDE = 28676, "UNITY_SPLIT_INCLUDE", "Cisco Unity";
        UNITY_NATT_PORT = 28677, "UNITY_NATT_PORT", "Cisco Unity";
        UNITY_LOCAL_LAN = 28678, "UNITY_LOCAL_LAN", "Cisco Unity";
        UNITY_PFS = 28679, "UNITY_PFS", "Cisco Unity";
        UNITY_FIREWALL_TYPE = 28680, "UNITY_FW_TYPE", "Cisco Unity";
        UNITY_BACKUP_SERVERS = 28681, "UNITY_BACKUP_SERVERS", "Cisco Unity";
        UNITY_DDNS_HOSTNAME = 28682, "UNITY_DDNS_HOSTNAME", "Cisco Unity";
    }
}
