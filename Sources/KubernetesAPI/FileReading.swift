// SPDX-License-Identifier: Apache-2.0

import Glibc

/// The reason that a file cannot be read.
struct FileError: Error {
    let reason: String
}

/// Reads a small file: a token, certificates, a kubeconfig.
func readFile(_ path: String) throws(FileError) -> [UInt8] {
    let limit = 16 << 20
    guard let stream = fopen(path, "r") else { throw FileError(reason: String(cString: strerror(errno))) }
    defer { fclose(stream) }
    var bytes: [UInt8] = []
    var chunk = [UInt8](repeating: 0, count: 16 << 10)
    while true {
        let count = fread(&chunk, 1, chunk.count, stream)
        guard ferror(stream) == 0 else { throw FileError(reason: String(cString: strerror(errno))) }
        guard count > 0 else { return bytes }
        bytes += chunk[..<count]
        guard bytes.count <= limit else { throw FileError(reason: "it is larger than \(limit >> 20) MiB") }
    }
}

extension String {
    /// Returns the text without surrounding white space: files end with a line break.
    func trimmingWhitespace() -> String {
        String(drop(while: \.isWhitespace).reversed().drop(while: \.isWhitespace).reversed())
    }
}
