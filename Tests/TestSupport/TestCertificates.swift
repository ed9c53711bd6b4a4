// SPDX-License-Identifier: Apache-2.0

public import Foundation

/// An authority of a test's own, and what it has signed: files in PEM form, which go away with the object.
public final class TestCertificates: Sendable {
    /// The folder of the files.
    public let folder: URL

    /// Makes an authority, a server's certificate for `127.0.0.1`, `::1`, `localhost` and `api.cluster.test`, a client's,
    /// one for `elsewhere.test`, and expired ones.
    public init() async throws {
        folder = FileManager.default.temporaryDirectory.appending(path: "kubenetmon-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        try await ChildProcess.shell(
            """
            cd '\(folder.path)'
            new="-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes"
            openssl req -x509 $new -days 2 -subj /CN=authority -keyout authority.key -out authority.pem
            sign() {
                openssl req $new -subj "/CN=$1" -keyout "$1.key" -out "$1.request"
                echo "$2" > "$1.extensions"
                openssl x509 -req -in "$1.request" -CA authority.pem -CAkey authority.key -CAcreateserial -days 2 \\
                    -extfile "$1.extensions" -out "$1.pem"
            }
            sign server "subjectAltName=IP:127.0.0.1,IP:::1,DNS:localhost,DNS:api.cluster.test"
            sign client "extendedKeyUsage=clientAuth"
            sign elsewhere "subjectAltName=DNS:elsewhere.test"
            for name in server client; do
                openssl x509 -req -in $name.request -CA authority.pem -CAkey authority.key -CAcreateserial -days -1 \\
                    -extfile $name.extensions -out expired-$name.pem && cp $name.key expired-$name.key
            done
            """)
    }

    deinit { try? FileManager.default.removeItem(at: folder) }

    /// The path of one of the files: `authority.pem`, or `server`, `client`, `elsewhere`, `expired-server` or
    /// `expired-client` with `.pem` or `.key`.
    public func path(_ name: String) -> String { folder.appending(path: name).path }

    /// The bytes of one of the files.
    public func bytes(_ name: String) throws -> [UInt8] { Array(try Data(contentsOf: URL(filePath: path(name)))) }
}
