// SPDX-License-Identifier: Apache-2.0

/// Limits on the memory for the API server's responses, and for files with credentials.
package enum KubernetesLimits {
    /// The limit on an object's length, in bytes. etcd rejects requests of more than 1.5 MiB (`--max-request-bytes`),
    /// so that no real object comes near.
    package static let objectLength = 4 << 20
    /// The limit on the size of a kubeconfig, token or certificate file, in bytes.
    static let fileBytes = 16 << 20
    /// The limit on the length of a watch's frame, in bytes.
    static let frameLength = 16 << 20
    /// The limit on the length of a list's metadata, in bytes.
    static let listMetadataLength = 64 << 10
    /// The limit on the size of one unpacked object, in bytes: a watch copies the object twice on the way.
    static let unpackedLength = 32 << 20
    /// The limit on the length of an annotation that is searched for addresses, in bytes. Those of a pod with a dozen
    /// interfaces take 4 KiB; Kubernetes allows 256 KiB for all annotations of an object (`TotalAnnotationSizeLimitB`).
    static let annotationLength = 64 << 10
    /// The limit on a node's addresses: its own, those of its bridges and tunnels, and virtual ones that it serves.
    static let nodeAddresses = 256
    /// The limit on a node's blocks of pod addresses.
    static let podNetworks = 8
    /// The limit on a pod's addresses besides those of `status.podIPs`.
    static let secondaryAddresses = 16
    /// The limit on a service's addresses for clients outside the cluster.
    static let externalAddresses = 256
    /// The limit on a service's ports. Services with hundreds exist (media servers); none can have more node ports than
    /// the 2,768 of the API server's default range, which all services share.
    static let servicePorts = 1024
}
