// SPDX-License-Identifier: Apache-2.0

/// Where a token, a key or certificates are. What it prints tells nothing of them.
package enum CredentialSource: Hashable, Sendable {
    /// In this file, which may change at any time.
    case file(String)
    /// Here.
    case bytes([UInt8])
}

extension CredentialSource: CustomStringConvertible, CustomReflectable {
    /// The file's path; of bytes only how many they are.
    package var description: String {
        switch self {
        case .file(let path): path
        case .bytes(let bytes): "\(bytes.count) bytes"
        }
    }

    /// As ``description``.
    package var customMirror: Mirror { Mirror(self, children: []) }
}
