// SPDX-License-Identifier: Apache-2.0

/// How much memory the API server's answers may take.
public enum KubernetesLimits {
    /// The longest object that is read, in bytes. etcd refuses requests of more than 1.5 MiB
    /// (`--max-request-bytes`), so that no real object comes near.
    public static let objectLength = 4 << 20
    /// The longest frame of a watch that is waited for, in bytes.
    public static let frameLength = 16 << 20
    /// The longest metadata of a list, in bytes.
    public static let listMetadataLength = 64 << 10
    /// How many bytes one object may become when it is unpacked: a watch copies it twice on the way.
    static let unpackedLength = 32 << 20
}
