// SPDX-License-Identifier: Apache-2.0

import ClusterModel
import FlowModel

/// Addresses that providers document but do not list.
enum WellKnownPlaces {
    /// Google's ranges, which every region answers. A listed or configured range with the same prefix takes precedence.
    static let ranges: [CloudRange] = [
        // Private Google Access: private.googleapis.com and restricted.googleapis.com
        // (https://cloud.google.com/vpc/docs/configure-private-google-access).
        ("199.36.153.8/30", "privategoogleaccess"), ("2600:2d00:2:2000::/64", "privategoogleaccess"),
        ("199.36.153.4/30", "restrictedgoogleaccess"), ("2600:2d00:2:1000::/64", "restrictedgoogleaccess"),
        // Google Front Ends, which connect to backends, and health checks
        // (https://cloud.google.com/load-balancing/docs/firewall-rules).
        ("35.191.0.0/16", "loadbalancing"), ("130.211.0.0/22", "loadbalancing"),
        ("209.85.152.0/22", "loadbalancing"), ("209.85.204.0/22", "loadbalancing"),
        ("2600:2d00:1:1::/64", "loadbalancing"), ("2600:2d00:1:b029::/64", "loadbalancing"),
    ].compactMap { text, service in
        IPPrefix(text).map { prefix in
            CloudRange(
                prefix: prefix, place: CloudPlace(cloud: "gcp", region: CloudPlace.globalRegion, service: service))
        }
    }

    /// Returns the public addresses that, in a cloud, stay within the host or the network.
    static func privateNetworks(of cloud: String) -> [IPPrefix] {
        // The platform's DNS, DHCP, metadata and probes
        // (https://learn.microsoft.com/azure/virtual-network/what-is-ip-address-168-63-129-16).
        cloud == "azure" ? ["168.63.129.16/32"].compactMap { IPPrefix($0) } : []
    }

    /// Whether two regions of a cloud are in the same partition; only the Internet connects partitions.
    ///
    /// AWS names its partitions
    /// (https://docs.aws.amazon.com/whitepapers/latest/aws-fault-isolation-boundaries/partitions.html); Azure's China
    /// and government clouds are partitions, too.
    static func areInOnePartition(_ first: String, _ second: String, of cloud: String) -> Bool {
        partition(of: first, cloud) == partition(of: second, cloud)
    }

    private static func partition(of region: String, _ cloud: String) -> String {
        let prefixes =
            switch cloud {
            case "aws": ["cn-", "us-gov-", "us-isof-", "us-isob-", "us-iso-", "eu-isoe-", "eusc-"]
            case "azure": ["china", "usgov", "usdod"]
            default: [String]()
            }
        let prefix = prefixes.first { region.hasPrefix($0) } ?? ""
        // Azure Government has regions with either prefix.
        return prefix == "usdod" ? "usgov" : prefix
    }
}

extension IPAddress {
    /// The IPv4 address behind a NAT64 address: the last 32 bits of an address in 64:ff9b::/96 (RFC 6052, section 2.1);
    /// any other address unchanged.
    var behindNAT64: IPAddress {
        bits >> 32 == 0x0064_ff9b << 64 ? IPAddress(v4: UInt32(truncatingIfNeeded: bits)) : self
    }
}
