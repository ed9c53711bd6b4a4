// SPDX-License-Identifier: Apache-2.0

/// The source of a token, a key or certificates. Its description does not reveal them.
package enum CredentialSource: Hashable, Sendable {
    /// A file, which may change at any time.
    case file(String)
    /// The bytes themselves.
    case bytes([UInt8])
}

extension CredentialSource: CustomStringConvertible, CustomReflectable {
    /// The file's path, or the number of bytes.
    package var description: String {
        switch self {
        case .file(let path): path
        case .bytes(let bytes): "\(bytes.count) bytes"
        }
    }

    /// A mirror without children, so that dumping the value does not reveal the bytes.
    package var customMirror: Mirror { Mirror(self, children: []) }
}
