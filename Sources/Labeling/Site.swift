// SPDX-License-Identifier: Apache-2.0

/// The location of the observed cluster: the values that all of its endpoints share.
public struct Site: Equatable, Sendable {
    /// The environment, such as `production`.
    public var environment: String
    /// The cloud, such as `aws`, in lower case.
    public var cloud: String
    /// The cloud's region, such as `eu-central-1`, in lower case.
    public var region: String
    /// The cluster's name.
    public var cluster: String

    /// Makes a site of its parts.
    public init(environment: String, cloud: String, region: String, cluster: String) {
        self.environment = environment
        self.cloud = cloud
        self.region = region
        self.cluster = cluster
    }
}
