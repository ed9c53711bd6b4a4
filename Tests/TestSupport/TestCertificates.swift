// SPDX-License-Identifier: Apache-2.0

public import Foundation

/// A test's own certificate authority and the certificates that it has signed: PEM files, deleted with the object.
///
/// Each object has keys of its own, except that those of an RSA type share theirs: a certificate of one is none of a
/// stranger to another.
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

        /// The options of `openssl req` by which the key of the certificate `$name` is made, or found.
        fileprivate var options: String {
            switch self {
            case .rsa2048, .rsa4096: "-key $name.key"
            case .p256: "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 \(Self.kept)"
            case .p384: "-newkey ec -pkeyopt ec_paramgen_curve:secp384r1 \(Self.kept)"
            case .p521: "-newkey ec -pkeyopt ec_paramgen_curve:secp521r1 \(Self.kept)"
            case .ed25519: "-newkey ed25519 \(Self.kept)"
            case .p224: "-newkey ec -pkeyopt ec_paramgen_curve:secp224r1 \(Self.kept)"
            case .secp256k1: "-newkey ec -pkeyopt ec_paramgen_curve:secp256k1 \(Self.kept)"
            case .ed448: "-newkey ed448 \(Self.kept)"
            }
        }

        private static let kept = "-nodes -keyout $name.key"

        /// The size in bits of an RSA key.
        fileprivate var rsaBits: Int? {
            switch self {
            case .rsa2048: 2_048
            case .rsa4096: 4_096
            default: nil
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
        if let bits = key.rsaBits { try await RSAKeys.shared.write(bits: bits, to: folder) }
        try await ChildProcess.shell(
            """
            cd '\(folder.path)'
            request() {
                name=$1
                shift
                openssl req -new \(key.options) -subj "/CN=$name" "$@"
            }
            sign() {
                request "$1" -out "$1.request"
                echo "$2" > "$1.extensions"
                openssl x509 -req -in "$1.request" -CA "$3.pem" -CAkey "$3.key" -CAcreateserial -days 2 \\
                    -extfile "$1.extensions" -out "$1.pem"
            }
            authority() { request "$1" -x509 -days 2 -out "$1.pem"; }
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

/// The RSA keys of all ``TestCertificates`` of the process, made when they are first asked for: one of 4,096 bits takes
/// seconds.
private actor RSAKeys {
    static let shared = RSAKeys()

    /// PEM files by the size of the key.
    private var keys: [Int: Task<(root: String, authority: String, leaf: String), any Error>] = [:]

    /// Writes the keys of all certificates to a folder. Those that the authority signs have the same one.
    func write(bits: Int, to folder: URL) async throws {
        let keys = try await keys(bits: bits)
        for (name, key) in [
            ("root", keys.root), ("authority", keys.authority), ("server", keys.leaf), ("client", keys.leaf),
            ("elsewhere", keys.leaf),
        ] {
            try key.write(to: folder.appending(path: "\(name).key"), atomically: false, encoding: .utf8)
        }
    }

    private func keys(bits: Int) async throws -> (root: String, authority: String, leaf: String) {
        if let task = keys[bits] { return try await task.value }
        let task = Task {
            func key() async throws -> String {
                try await ChildProcess.shell("openssl genpkey -quiet -algorithm RSA -pkeyopt rsa_keygen_bits:\(bits)")
            }
            return (root: try await key(), authority: try await key(), leaf: try await key())
        }
        keys[bits] = task
        return try await task.value
    }
}
