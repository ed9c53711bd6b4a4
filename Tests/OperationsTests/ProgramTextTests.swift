// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import Operations

@Suite struct ProgramTextTests {
    @Test(
        "a mapping of code from a file is recognized",
        arguments: [
            ("55d0c0a00000-55d0c1c6a000 r-xp 00000000 fe:00 1234  /usr/bin/kubenetmon-agent\n", 0x126_a000),
            ("7f249be1e000-7f249be1f000 r-xp 00026000 fe:00 99    /usr/lib/a name with spaces.so\n", 0x1000),
        ])
    func codeInAFileIsFound(line: String, size: Int) {
        #expect(ProgramText.range(of: line)?.count == size)
    }

    /// Dropped pages of these mappings would be lost, or are not the program's.
    @Test(
        "any other mapping is not recognized as code from a file",
        arguments: [
            "55d0c1c6a000-55d0c1f1e000 rw-p 01269000 fe:00 1234  /usr/bin/kubenetmon-agent\n",
            "55d0c1c6a000-55d0c1f1e000 rwxp 01269000 fe:00 1234  /usr/bin/kubenetmon-agent\n",
            "7ffc0a5d0000-7ffc0a5d2000 r-xp 00000000 00:00 0     [vdso]\n",
            "7f2490000000-7f2490021000 r-xp 00000000 00:00 0 \n",
            "7ffc0a5f1000-7ffc0a612000 rw-p 00000000 00:00 0     [stack]\n",
            "", "\n",
        ])
    func nothingElseIs(line: String) {
        #expect(ProgramText.range(of: line) == nil)
    }

    @Test("the program goes on after its code was unmapped") func theProgramRunsOn() {
        ProgramText.unmap()
        #expect((0..<1000).reduce(0, +) == 499_500)
    }
}
