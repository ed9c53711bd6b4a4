// SPDX-License-Identifier: Apache-2.0

/// How much memory the API server's answers may take.
package enum KubernetesLimits {
    /// The longest object that is read, in bytes. etcd refuses requests of more than 1.5 MiB
    /// (`--max-request-bytes`), so that no real object comes near.
    package static let objectLength = 4 << 20
    /// The longest frame of a watch that is waited for, in bytes.
    static let frameLength = 16 << 20
    /// The longest metadata of a list, in bytes.
    static let listMetadataLength = 64 << 10
    /// How many bytes one object may become when it is unpacked: a watch copies it twice on the way.
    static let unpackedLength = 32 << 20
    /// The longest annotation that addresses are looked for in, in bytes. Those of a pod with a dozen interfaces take 4 KiB;
    /// Kubernetes allows 256 KiB for all annotations of an object (`TotalAnnotationSizeLimitB`).
    static let annotationLength = 64 << 10
    /// The most addresses of a node: its own, those of its bridges and tunnels, and virtual ones that it serves.
    static let nodeAddresses = 256
    /// The most blocks of addresses that the pods of a node get theirs from.
    static let podNetworks = 8
    /// The most addresses of a pod besides those of `status.podIPs`.
    static let secondaryAddresses = 16
    /// The most addresses that clients from elsewhere dial a service by.
    static let externalAddresses = 256
    /// The most ports of a service. Services with hundreds exist (media servers); none can have more node ports than the
    /// 2,768 of the API server's default range, which all services share.
    static let servicePorts = 1024
}
