// SPDX-License-Identifier: Apache-2.0

public import Foundation
import Glibc
import Synchronization

/// A program that a test runs as a child process. It is killed when the object is released, if not before.
public final class ChildProcess: Sendable {
    private let process: Mutex<Process>
    /// The program's standard output and standard error, interleaved.
    private let log: URL

    /// Starts a program. Its output goes to a file of its own.
    public init(_ program: URL, _ arguments: [String] = [], environment: [String: String] = [:]) throws {
        log = FileManager.default.temporaryDirectory.appending(path: "kubenetmon-\(UUID().uuidString).log")
        guard FileManager.default.createFile(atPath: log.path, contents: nil) else {
            throw TestEnvironmentError("cannot create \(log.path)")
        }
        let handle = try FileHandle(forWritingTo: log)
        let process = Process()
        process.executableURL = program
        process.arguments = arguments
        process.environment = ProcessInfo.processInfo.environment.merging(environment) { $1 }
        process.standardInput = FileHandle.nullDevice
        process.standardOutput = handle
        process.standardError = handle
        try process.run()
        // Foundation keeps a process, and the handles opened for it, after the last reference is gone.
        try handle.close()
        self.process = Mutex(process)
    }

    deinit {
        signal(SIGKILL)
        try? FileManager.default.removeItem(at: log)
    }

    /// The program's output so far.
    public var output: String { (try? String(contentsOf: log, encoding: .utf8)) ?? "" }

    /// The program's process identifier.
    public var processIdentifier: Int32 { process.withLock { $0.processIdentifier } }

    /// Whether the program is still running.
    public var isRunning: Bool { process.withLock { $0.isRunning } }

    /// Sends a signal if the program is still running.
    public func signal(_ number: Int32) {
        process.withLock { if $0.isRunning { kill($0.processIdentifier, number) } }
    }

    /// Waits for the program's end and returns its exit code; if a signal ended it, 128 plus the signal's number.
    public func wait() async throws -> Int32 {
        try await eventually("\(process.withLock { $0.executableURL?.lastPathComponent ?? "" }) ends") {
            !self.isRunning
        }
        return process.withLock {
            $0.terminationReason == .uncaughtSignal ? 128 + $0.terminationStatus : $0.terminationStatus
        }
    }

    /// Runs a program to its end and returns its output. Throws if it does not exit with 0.
    @discardableResult
    public static func run(
        _ program: URL, _ arguments: [String] = [], environment: [String: String] = [:]
    ) async throws -> String {
        let child = try ChildProcess(program, arguments, environment: environment)
        let code = try await child.wait()
        guard code == 0 else {
            throw TestEnvironmentError(
                "\(program.lastPathComponent) \(arguments.joined(separator: " ")) exited with \(code): \(child.output)")
        }
        return child.output
    }

    /// Runs a command line of `sh` to its end and returns its output. Throws if it does not exit with 0.
    @discardableResult
    public static func shell(_ command: String) async throws -> String {
        try await run(URL(filePath: "/bin/sh"), ["-euc", command])
    }
}

/// Waits until a condition holds, polling every 10 milliseconds. Throws if it does not hold within five minutes: the
/// error says "timed out waiting until", followed by `what`. That bound only detects a hang: a test with a tight time
/// limit fails on a busy machine.
public func eventually(_ what: String, _ condition: () async throws -> Bool) async throws {
    // Time for which a busy machine suspends the test does not count: each poll costs at most a second.
    var left = Duration.seconds(300)
    var last = ContinuousClock.now
    while try await !condition() {
        guard left > .zero else { throw TestEnvironmentError("timed out waiting until \(what)") }
        try await Task.sleep(for: .milliseconds(10))
        left -= min(.now - last, .seconds(1))
        last = .now
    }
}
