// SPDX-License-Identifier: Apache-2.0

public import Foundation

/// A test's own certificate authority and the certificates that it has signed: PEM files, deleted with the object.
public final class TestCertificates: Sendable {
    /// The type of all keys.
    public enum Key: String, CaseIterable, Sendable {
        /// Types that cert-manager issues.
        case rsa2048, rsa4096, p256, p384, p521, ed25519
        /// Other types that OpenSSL makes.
        case p224, secp256k1, ed448

        /// Types that cert-manager issues
        /// (https://cert-manager.io/docs/reference/api-docs/#cert-manager.io/v1.PrivateKeyAlgorithm).
        public static let issued: [Key] = [.rsa2048, .rsa4096, .p256, .p384, .p521, .ed25519]
        /// Types that have no signature algorithm in TLS, or that BoringSSL does not support.
        public static let unsupported: [Key] = [.p224, .secp256k1, .ed448]

        fileprivate var options: String {
            switch self {
            case .rsa2048: "rsa:2048"
            case .rsa4096: "rsa:4096"
            case .p256: "ec -pkeyopt ec_paramgen_curve:prime256v1"
            case .p384: "ec -pkeyopt ec_paramgen_curve:secp384r1"
            case .p521: "ec -pkeyopt ec_paramgen_curve:secp521r1"
            case .ed25519: "ed25519"
            case .p224: "ec -pkeyopt ec_paramgen_curve:secp224r1"
            case .secp256k1: "ec -pkeyopt ec_paramgen_curve:secp256k1"
            case .ed448: "ed448"
            }
        }
    }

    /// The folder of the files.
    public let folder: URL

    /// Makes an authority, a server certificate for `127.0.0.1`, `::1`, `localhost` and `api.cluster.test`, a client
    /// certificate, a certificate for `elsewhere.test`, and expired server and client certificates.
    ///
    /// - Parameter hasIntermediate: Whether the authority is itself signed by another, `root.pem`. In that case,
    ///   `authorities.pem` holds both; server and client send the authority's certificate after their own, except with
    ///   `server-alone.pem` and `client-alone.pem`.
    public init(_ key: Key = .p256, hasIntermediate: Bool = false) async throws {
        folder = FileManager.default.temporaryDirectory.appending(path: "kubenetmon-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        try await ChildProcess.shell(
            """
            cd '\(folder.path)'
            new="-newkey \(key.options) -nodes"
            sign() {
                openssl req $new -subj "/CN=$1" -keyout "$1.key" -out "$1.request"
                echo "$2" > "$1.extensions"
                openssl x509 -req -in "$1.request" -CA "$3.pem" -CAkey "$3.key" -CAcreateserial -days 2 \\
                    -extfile "$1.extensions" -out "$1.pem"
            }
            authority() { openssl req -x509 $new -days 2 -subj "/CN=$1" -keyout "$1.key" -out "$1.pem"; }
            if \(hasIntermediate); then
                authority root
                sign authority "basicConstraints=critical,CA:TRUE" root
                cat authority.pem root.pem > authorities.pem
            else
                authority authority
            fi
            sign server "subjectAltName=IP:127.0.0.1,IP:::1,DNS:localhost,DNS:api.cluster.test" authority
            sign client "extendedKeyUsage=clientAuth" authority
            sign elsewhere "subjectAltName=DNS:elsewhere.test" authority
            for name in server client; do
                openssl x509 -req -in $name.request -CA authority.pem -CAkey authority.key -CAcreateserial -days -1 \\
                    -extfile $name.extensions -out expired-$name.pem && cp $name.key expired-$name.key
                if \(hasIntermediate); then
                    cp $name.pem $name-alone.pem && cp $name.key $name-alone.key
                    cat authority.pem >> $name.pem
                fi
            done
            """)
    }

    deinit { try? FileManager.default.removeItem(at: folder) }

    /// Returns the path of a file: `authority.pem`, or `server`, `client`, `elsewhere`, `expired-server` or
    /// `expired-client` with `.pem` or `.key`.
    public func path(_ name: String) -> String { folder.appending(path: name).path }

    /// Returns the bytes of a file.
    public func bytes(_ name: String) throws -> [UInt8] { Array(try Data(contentsOf: URL(filePath: path(name)))) }
}
