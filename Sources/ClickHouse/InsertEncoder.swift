// SPDX-License-Identifier: Apache-2.0

import FlowBlocks
import Synchronization

/// Makes the batches of all workers, in memory that it keeps for later ones unless the ledger is under pressure.
final class InsertEncoder: Sendable {
    /// The number of bodies whose memory is kept.
    private static let maximumSpareBodies = 2

    private let configuration: Inserter.Configuration
    private let schema: Mutex<TableSchema>
    private let ledger: BlockLedger
    /// One encoder for all workers: it is faster than ClickHouse accepts its output, and takes as much memory as
    /// several blocks.
    private let encoder = Mutex(BlockEncoder())
    /// The memory of a few bodies that are no longer needed, for reuse.
    private let spareBodies = Mutex<[[UInt8]]>([])

    init(_ configuration: Inserter.Configuration, _ schema: TableSchema, ledger: BlockLedger) {
        self.configuration = configuration
        self.schema = Mutex(schema)
        self.ledger = ledger
        ledger.addPressureHandler { [weak self] isUnderPressure in
            if isUnderPressure { self?.forgetSpares() }
        }
    }

    /// The table that batches are made for. A new value applies to blocks that are encoded afterwards.
    var table: TableSchema {
        get { schema.withLock { $0 } }
        set { schema.withLock { $0 = newValue } }
    }

    /// The form in which the table stores rows.
    var form: BlockForm { schema.withLock { $0.form } }

    /// Encodes a block as a batch; the block is empty afterwards.
    func encode(_ block: inout FlowBlock) -> InsertBatch {
        let schema = table
        let (body, rows) = encoder.withLock { encoder in
            defer {
                if ledger.isUnderPressure {
                    encoder = BlockEncoder()
                    forgetSpares()
                    FlowBlock.releaseSpareMemory()
                }
            }
            return encoder.encode(
                &block, for: schema, compression: configuration.compression,
                reusing: spareBodies.withLock { $0.popLast() } ?? [])
        }
        return InsertBatch(
            block, rows: rows, body: body, into: schema, configuration.asyncInsert, configuration.viewErrors,
            timeoutMilliseconds: configuration.client.timeoutMilliseconds)
    }

    /// Returns the halves of a batch.
    func halve(_ batch: InsertBatch) -> (InsertBatch, InsertBatch) {
        // The lock serializes splits, since an uncompressed batch takes several megabytes.
        encoder.withLock { _ in batch.halves() }
    }

    /// Keeps the memory of a body that is no longer needed for reuse.
    func recycle(_ body: ClickHouseClient.Body) {
        guard !ledger.isUnderPressure else { return }
        spareBodies.withLock { if $0.count < Self.maximumSpareBodies { $0.append(body.bytes) } }
    }

    /// Frees memory that is kept for later blocks.
    func releaseMemory() {
        encoder.withLock { $0 = BlockEncoder() }
        forgetSpares()
        FlowBlock.releaseSpareMemory()
    }

    private func forgetSpares() { spareBodies.withLock { $0 = [] } }
}
