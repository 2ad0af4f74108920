package packetfilter

// etherTypes holds the names that "ether proto" takes, and ipProtocols those that "ip proto" takes.
var etherTypes = map[string]uint32{"ip": typeIP4, "ip6": typeIP6, "arp": typeARP, "rarp": typeRARP, "loopback": 0x9000}

var ipProtocols = map[string]uint32{
	"icmp": protoICMP, "igmp": 2, "tcp": protoTCP, "igrp": 9, "udp": protoUDP, "esp": 50, "ah": 51,
	"icmp6": protoICMP6, "pim": 103, "vrrp": 112, "carp": 112, "sctp": protoSCTP,
}

// only4 and only6 list the protocols that are of one IP version alone.
var (
	only4 = map[string]bool{"icmp": true, "igmp": true, "igrp": true, "vrrp": true, "carp": true}
	only6 = map[string]bool{"icmp6": true}
)

// constants holds the names of numbers in expressions.
var constants = map[string]uint32{
	"tcpflags": 13, "tcp-fin": 1, "tcp-syn": 2, "tcp-rst": 4, "tcp-push": 8, "tcp-ack": 16, "tcp-urg": 32,
	"tcp-ece": 64, "tcp-cwr": 128,

	"icmptype": 0, "icmpcode": 1, "icmp-echoreply": 0, "icmp-unreach": 3, "icmp-sourcequench": 4,
	"icmp-redirect": 5, "icmp-echo": 8, "icmp-routeradvert": 9, "icmp-routersolicit": 10,
	"icmp-timxceed": 11, "icmp-paramprob": 12, "icmp-tstamp": 13, "icmp-tstampreply": 14, "icmp-ireq": 15,
	"icmp-ireqreply": 16, "icmp-maskreq": 17, "icmp-maskreply": 18,

	"icmp6type": 0, "icmp6code": 1, "icmp6-destinationrunreach": 1, "icmp6-packettoobig": 2,
	"icmp6-timeexceeded": 3, "icmp6-parameterproblem": 4, "icmp6-echo": 128, "icmp6-echoreply": 129,
	"icmp6-multicastlistenerquery": 130, "icmp6-multicastlistenerreportv1": 131,
	"icmp6-multicastlistenerdone": 132, "icmp6-routersolicit": 133, "icmp6-routeradvert": 134,
	"icmp6-neighborsolicit": 135, "icmp6-neighboradvert": 136, "icmp6-redirect": 137,
	"icmp6-routerrenum": 138, "icmp6-nodeinformationquery": 139, "icmp6-nodeinformationresponse": 140,
	"icmp6-ineighbordiscoverysolicit": 141, "icmp6-ineighbordiscoveryadvert": 142,
	"icmp6-multicastlistenerreportv2": 143, "icmp6-homeagentdiscoveryrequest": 144,
	"icmp6-homeagentdiscoveryreply": 145, "icmp6-mobileprefixsolicit": 146, "icmp6-mobileprefixadvert": 147,
	"icmp6-certpathsolicit": 148, "icmp6-certpathadvert": 149, "icmp6-multicastrouteradvert": 151,
	"icmp6-multicastroutersolicit": 152, "icmp6-multicastrouterterm": 153,
}

// explainUnsupported says why kdiag does not take a keyword of pcap-filter(7), or returns an empty
// string for any other word.
func explainUnsupported(word string) string {
	switch word {
	case "vlan", "mpls", "pppoed", "pppoes", "geneve", "vxlan":
		return "kdiag does not look into tags and tunnels"
	case "gateway", "protochain":
		return "kdiag does not support this keyword"
	case "fddi", "tr", "wlan", "type", "subtype", "dir", "ra", "ta", "addr1", "addr2", "addr3", "addr4", "atalk", "aarp",
		"decnet", "lat", "sca", "moprc", "mopdl", "iso", "clnp", "esis", "isis", "stp", "ipx", "netbeui", "llc", "lane",
		"ifname", "on", "rnr", "rulenum", "reason", "rset", "ruleset", "srnr", "subrulenum", "action", "ppp", "slip",
		"link", "ifindex", "radio", "vpi", "vci":
		return "kdiag does not support this keyword, which is for other kinds of networks"
	}
	return ""
}
