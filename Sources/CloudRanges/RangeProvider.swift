// SPDX-License-Identifier: Apache-2.0

/// A published list of a cloud's addresses.
public enum RangeProvider: String, CaseIterable, Sendable {
    /// ip-ranges.json of Amazon Web Services.
    case aws
    /// cloud.json of Google: what its customers can have, by region.
    case gcp
    /// ServiceTags_Public of Microsoft Azure.
    case azure
    /// goog.json of Google: all its addresses, without regions.
    case google

    /// The cloud that the list's addresses belong to, as the column `remoteCloud` has it.
    public var cloud: String {
        switch self {
        case .aws: "aws"
        case .gcp, .google: "gcp"
        case .azure: "azure"
        }
    }

    /// Where the provider publishes the list; nil for Azure's, whose URL holds a date and is found by
    /// ``AzureListURL``.
    public var publishedURL: String? {
        switch self {
        case .aws: "https://ip-ranges.amazonaws.com/ip-ranges.json"
        case .gcp: "https://www.gstatic.com/ipranges/cloud.json"
        case .azure: nil
        case .google: "https://www.gstatic.com/ipranges/goog.json"
        }
    }
}
