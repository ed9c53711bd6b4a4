// SPDX-License-Identifier: Apache-2.0

/// A published list of a cloud's addresses.
public enum RangeProvider: String, CaseIterable, Sendable {
    /// ip-ranges.json of Amazon Web Services.
    case aws
    /// cloud.json of Google: the addresses available to its customers, by region.
    case gcp
    /// ServiceTags_Public of Microsoft Azure.
    case azure
    /// goog.json of Google: all of its addresses, without regions.
    case google

    /// The cloud that the list's addresses belong to, in the spelling of the column `remoteCloud`.
    public var cloud: String {
        switch self {
        case .aws: "aws"
        case .gcp, .google: "gcp"
        case .azure: "azure"
        }
    }

    /// The URL at which the provider publishes the list. Azure's contains the day of publication, see ``DatedURL``.
    package var publishedURL: String {
        switch self {
        case .aws: "https://ip-ranges.amazonaws.com/ip-ranges.json"
        case .gcp: "https://www.gstatic.com/ipranges/cloud.json"
        case .azure:
            "https://download.microsoft.com/download/7/1/d/71d86715-5596-4529-9b13-da13a5de5b63/"
                + "ServiceTags_Public_\(DatedURL.placeholder).json"
        case .google: "https://www.gstatic.com/ipranges/goog.json"
        }
    }
}
