// SPDX-License-Identifier: Apache-2.0

import Glibc

/// The code pages that the process has mapped: its own and its libraries'.
public enum ProgramText {
    /// Unmaps the pages. A page that is needed again is mapped again from the page cache, without a read. Pages that
    /// only the start needed (relocations, the argument parser) stay unmapped and no longer count as resident.
    ///
    /// Code is never written to, so the file still holds everything that is dropped. An anonymous page in such a
    /// mapping, as a debugger's breakpoint creates, would be lost.
    public static func unmap() {
        guard let maps = fopen("/proc/self/maps", "r") else { return }
        defer { fclose(maps) }
        // A line is shorter than 128 bytes plus a path.
        var line = [CChar](repeating: 0, count: 128 + Int(PATH_MAX))
        while fgets(&line, CInt(line.count), maps) != nil {
            guard
                let range = range(
                    of: String(decoding: line.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self))
            else { continue }
            madvise(UnsafeMutableRawPointer(bitPattern: range.lowerBound), range.count, MADV_DONTNEED)
        }
    }

    /// Returns the addresses in a line of `/proc/self/maps` (proc_pid_maps(5)) if it describes code from a file, else
    /// nil.
    static func range(of line: String) -> Range<UInt>? {
        let fields = line.split(separator: " ", maxSplits: 5)
        guard fields.count == 6, fields[1] == "r-xp", fields[5].contains("/") else { return nil }
        let bounds = fields[0].split(separator: "-").compactMap { UInt($0, radix: 16) }
        guard bounds.count == 2, bounds[0] < bounds[1] else { return nil }
        return bounds[0]..<bounds[1]
    }
}
