// SPDX-License-Identifier: Apache-2.0

import Glibc

/// A failure to read the kernel's connection table.
public enum ConntrackError: Error, Equatable {
    /// The kernel rejected the request because the process lacks a capability.
    case permissionDenied(operation: String)
    /// A system call failed, or the kernel's response to a request was an error; the number is an `errno`.
    case system(operation: String, errno: Int32)
    /// The kernel did not respond within ``NetlinkSocket/receiveTimeoutSeconds``.
    case timeout(operation: String)
    /// A message from the kernel does not follow the netlink format; the text says where.
    case malformedMessage(String)

    init(operation: String, errno code: Int32) {
        switch code {
        case EPERM, EACCES: self = .permissionDenied(operation: operation)
        case EAGAIN: self = .timeout(operation: operation)
        default: self = .system(operation: operation, errno: code)
        }
    }
}

extension ConntrackError: CustomStringConvertible {
    /// The operation, the error, and the remedy.
    public var description: String {
        switch self {
        case .permissionDenied(let operation):
            """
            \(operation): permission denied. This process needs the capability CAP_NET_ADMIN in the user namespace \
            that owns its network namespace: in Kubernetes, securityContext.capabilities.add: [NET_ADMIN]; in a shell, \
            run it as root.
            """
        case .system(let operation, let code):
            "\(operation): \(String(cString: strerror(code))) (errno \(code))\(Self.remedy(for: code))"
        case .timeout(let operation):
            "\(operation): the kernel did not respond within \(NetlinkSocket.receiveTimeoutSeconds) s"
        case .malformedMessage(let problem): "the kernel sent a malformed netlink message: \(problem)"
        }
    }

    private static func remedy(for code: Int32) -> String {
        switch code {
        case EPROTONOSUPPORT, EOPNOTSUPP, EINVAL:
            ". The kernel has no connection tracking over netlink: load the modules nf_conntrack and nf_conntrack_netlink"
        case EROFS:
            """
            . Container runtimes mount /proc/sys read-only unless the container is privileged: run \
            `kubenetmon-agent enable-accounting` in a privileged init container, or set the sysctl on the node
            """
        case ENOENT:
            """
            . There is no connection tracking in this network namespace: load the module nf_conntrack; in Kubernetes, set \
            hostNetwork: true
            """
        case ENOBUFS: ". The kernel sent more than the socket's receive buffer could hold"
        default: ""
        }
    }
}
