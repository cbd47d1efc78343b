/** cortex-ledger: the flight recorder for AI agents. */
export { AuditLedger } from './open.ts'
export { verifyLedger } from './open-verify.ts'
export type { VerifyOptions } from './open-verify.ts'
export type { OpenOptions } from './open.ts'
export { publishLedger } from './open-publish.ts'
export type { PublishLedgerOptions, PublishedReport } from './open-publish.ts'
export type { PublishReport } from './ledger/publish.ts'
export { openArchive } from './open-archive.ts'
export type { ArchiveOptions } from './open-archive.ts'
export { isArchiveName, readArchived } from './ledger/archive.ts'
export type { ArchiveContent, ArchiveFile, ArchiveStore, ByteRange, WrittenFile as WrittenArchive } from './ledger/archive.ts'
export { packLines, PACKED_LIMITS } from './ledger/packed-lines.ts'
export type { PackedFrame, PackedTable } from './ledger/packed-lines.ts'
export { findLine, readFrame, readTable } from './ledger/packed-reading.ts'
export type { ByteSource } from './ledger/packed-reading.ts'
export { archivedBytes, openBytes, readLines } from './ledger/packed-source.ts'
export type { ReadLinesOptions } from './ledger/packed-source.ts'
export { copyLedger, promoteLedger } from './open-copy.ts'
export type { CopyLedgerOptions, PromoteLedgerOptions } from './open-copy.ts'
export type { CopyOptions, CopyProgress, CopyReport, PromoteOptions, PromoteReport } from './ledger/copy.ts'
export { isPublishedLog, verifyPublishedLog } from './ledger/published-log.ts'
export type { HttpLimits, PublishedLogOptions } from './ledger/published-log.ts'
export type { NamedNote } from './verify/published-claims.ts'
export { LedgerError, LEDGER_ERROR_CODES } from './ledger/errors.ts'
export type { LedgerErrorCode, LedgerErrorDetails } from './ledger/errors.ts'
export { LedgerRecord } from './ledger/record.ts'
export { LIMITS } from './ledger/limits.ts'
export { systemClock } from './ledger/clock.ts'
export type { Clock } from './ledger/clock.ts'
export { systemRandom } from './ledger/random.ts'
export type { Random } from './ledger/random.ts'
export { formatKeyFile, formatSealedKeyFile, parseKeyFile, readKeyFile, signerFromSeed } from './ledger/keys.ts'
export type { KeyFileOptions } from './ledger/keys.ts'
export type { Passphrase } from './ledger/passphrase.ts'
export { commandSigner } from './ledger/command-signer.ts'
export type { CommandSignerOptions } from './ledger/command-signer.ts'
export type { Signer } from './ledger/signer.ts'
export { commandMasterKey, createMasterKeyFile, masterKeyFrom, readMasterKeyFile } from './ledger/encryption/master-key.ts'
export type { CommandMasterKeyOptions, MasterKey } from './ledger/encryption/master-key.ts'
export type { EncryptionOptions, KeyedRecord } from './ledger/encryption/options.ts'
export type { DataKeyListing, DataKeys } from './ledger/encryption/data-keys.ts'
export type { Rewrapped, WhichKey } from './ledger/encryption/keyring.ts'
export type { LockedReason } from './ledger/encryption/sealed-entry.ts'
export type { DecryptOptions } from './ledger/encryption/verify-entries.ts'
export { recordPublicKeyFrom, recordSignerFromKey } from './ledger/record-signer.ts'
export type { RecordPublicKey, RecordSigner } from './ledger/record-signer.ts'
export { checkRecordSignature } from './ledger/signature-check.ts'
export type { KeyToAdd, RetireOptions } from './ledger/key-records.ts'
export type { CallHandle, CallInfo, CallOptions } from './ledger/call.ts'
export type { EventInput, Mask, RecordOptions } from './ledger/draft.ts'
export { DEFAULT_MASK_PATTERNS, MASK_PATTERNS, maskRules } from './ledger/masking/rules.ts'
export type { MaskFinder, MaskOptions, MaskPattern } from './ledger/masking/rules.ts'
export { Pseudonyms } from './ledger/pseudonyms.ts'
export type { Pseudonymiser, PseudonymsOptions } from './ledger/pseudonyms.ts'
export { defineEvent } from './ledger/events.ts'
export type { EventDefinition, EventMeta, EventOptions, StandardSchema, TypedEvent, Upcaster } from './ledger/events.ts'
export {
  ApprovalDenied,
  ApprovalGranted,
  EntryAnnotated,
  EntryCorrected,
  PolicyDecided,
  ToolCallCompleted,
} from './ledger/built-in-events.ts'
export type { RecordReference } from './ledger/built-in-events.ts'
export type { CorrectedRecord } from './ledger/corrections.ts'
export type { Subscription, SubscribeOptions } from './ledger/subscription.ts'
export type { AsOf, LedgerView, Replayable, StateAsOf } from './ledger/view.ts'
export { openReadModels } from './open-models.ts'
export { defineReadModel } from './ledger/read-model.ts'
export type {
  ModelConnection,
  ModelRow,
  ModelSql,
  ModelStore,
  ModelTransaction,
  ModelValue,
  ReadModel,
  ReadModelOptions,
} from './ledger/read-model.ts'
export { ReadModels } from './ledger/read-models.ts'
export type { WaitOptions } from './ledger/read-models.ts'
export { ModelRunner } from './ledger/read-model-runner.ts'
export type { ModelProgress, RunModelOptions } from './ledger/read-model-options.ts'
export type { ModelKey, ModelState, ModelStatus, ParkedEvent } from './ledger/read-model-tables.ts'
export { defineProjection } from './ledger/projection.ts'
export type { DataOf, EventSelection, EventsOptions, Projection, ProjectionOptions, ProjectionScope } from './ledger/projection.ts'
export type { LoadedState, LoadOptions } from './ledger/projections.ts'
export { SNAPSHOT_POLICIES } from './ledger/snapshot-policy.ts'
export type { SnapshotPolicy } from './ledger/snapshot-policy.ts'
export type { SnapshotListing } from './ledger/snapshot-check.ts'
export type { EventsRange, EventsRead } from './ledger/event-reading.ts'
export type { EventQuery, EventTypeName } from './ledger/conditions.ts'
export type { LedgerContext } from './ledger/context.ts'
export type { AppendConditions, AppendEventsOptions, StreamEvents } from './ledger/recording.ts'
export type { JsonObject, JsonValue, LedgerEntry, LedgerEntryInput, ParseResult } from './ledger/entry.ts'
export type { AuditOptions } from './ledger/audit.ts'
export type { LedgerStats } from './ledger/stats.ts'
export type { LedgerWarning } from './ledger/warning.ts'
export type { CheckpointOptions, SignedCheckpoint } from './ledger/checkpoints.ts'
export type { LedgerTree } from './ledger/tree.ts'
export type { EvidenceOptions, KeptCheckpoint } from './ledger/evidence.ts'
export type { LedgerOptions } from './ledger/founding.ts'
export type { ExpectedVersion, Inclusion, Receipt } from './ledger/plan.ts'
export { asRetentionPolicy, readRetentionPolicy, RETENTION_PRESETS } from './ledger/retention/policy.ts'
export type { FloorOverride, PresetName, RetentionPolicy, RetentionPolicyInput } from './ledger/retention/policy.ts'
export type { EraseCriteria, Erasure, HoldOptions, Retention } from './ledger/retention/retention.ts'
export type { LegalHold } from './ledger/retention/holds.ts'
export type { PlannedStep, RetentionPlan, TierSize } from './ledger/retention/plan.ts'
export type { ApplyOptions, RetentionApplied, TierMoves } from './ledger/retention/apply.ts'
export type { ArchivingOptions } from './ledger/retention/archive-some.ts'
export type { EntriesRestored, RestoreOptions, RestoreRequest } from './ledger/retention/restore.ts'
export type { EraseOptions } from './ledger/retention/erase.ts'
export type { PaceOptions, RetentionProgress } from './ledger/retention/context.ts'
export { checkErasureCertificate, formatCertificate } from './ledger/retention/certificate.ts'
export type { CertificateReport, ErasureCertificate } from './ledger/retention/certificate.ts'
export type { WithheldEntry } from './ledger/withheld-entry.ts'
export type { EntryUpkeep, KeptEntry, Reclaimed, UpkeepStep, WithholdOptions } from './ledger/upkeep.ts'
export { checkProof } from './ledger/check.ts'
export type { ProofTrust } from './ledger/check.ts'
export type { Disclosure, ProofRequest, ProveOptions } from './ledger/prove.ts'
export type { Criteria, Query, QueryPage, ReadRange } from './ledger/query.ts'
export type { BatchLimits, QueueLimits } from './ledger/queue.ts'
export type {
  AppendOptions,
  AuditCut,
  AuditRange,
  AuditSink,
  DataKeyStore,
  EntryOpener,
  EntryOpening,
  ExitAppender,
  Head,
  RecordFilter,
  ReplicaMark,
  SealedRecord,
  Rewrapping,
  Selection,
  SnapshotFiles,
  StateRequest,
  Store,
  StoreDescription,
  StoredKey,
  StoreState,
  TallyColumn,
  TreeFiles,
  TreeText,
} from './ledger/store.ts'
export type { TextFigures, TextOrder } from './ledger/text.ts'
export { fitsFilter, indexedName } from './ledger/filter.ts'
export { importChat } from './ledger/import/chat.ts'
export type { ChatImportOptions, ChatImportReport } from './ledger/import/chat.ts'
export { checkCortexJsonl } from './ledger/import/cortex-check.ts'
export type { CortexCheck, CortexCheckOptions } from './ledger/import/cortex-check.ts'
export { importCortexJsonl, refusesCortexJsonl } from './ledger/import/cortex-jsonl.ts'
export type { CortexImportOptions, CortexImportReport } from './ledger/import/cortex-jsonl.ts'
export { fileSource } from './ledger/import/source.ts'
export type { ImportOptions, ImportProblem, ImportProgress, ImportReport, ImportSource } from './ledger/import/source.ts'
export { usage, UsageFold, USAGE_COLUMNS } from './derive/usage.ts'
export type { Latency, Usage, UsageColumn, UsageFigures, UsageGroup, UsageOptions } from './derive/usage.ts'
export type { Tokens } from './derive/tokens.ts'
export { timeline } from './derive/timeline.ts'
export type { Timeline, TimelineKind, TimelineNode } from './derive/timeline.ts'
export { currentState } from './derive/state.ts'
export type { CurrentState, StateOptions, StateProjection } from './derive/state.ts'
export { auditReport } from './derive/audit-report.ts'
export type {
  ActorSummary,
  Approval,
  AuditReport,
  AuditReportOptions,
  AuditRow,
  AuditSummary,
  PolicyDecision,
} from './derive/audit-report.ts'
export { auditReportHtml } from './derive/audit-html.ts'
export { auditReportJson } from './derive/audit-json.ts'
export { trainingExamples } from './derive/training.ts'
export type { ChatExample, LeftOut, TrainingExample, TrainingOptions, TrainingSet, TrainingSource } from './derive/training.ts'
export { trainingFile } from './derive/training-file.ts'
export type { WriteText, WrittenFile } from './derive/training-file.ts'
export type { ChatMessage, ChatToolCall } from './derive/chat-message.ts'
export type { LedgerFacts } from './derive/source.ts'
export { Witnesses } from './ledger/witnesses.ts'
export type {
  CosignResult,
  Fetch,
  ProveConsistency,
  RootAt,
  WitnessConflict,
  WitnessesOptions,
  WitnessFailure,
  WitnessStanding,
} from './ledger/witnesses.ts'
export type {
  BundledRecordReport,
  BundleNote,
  BundleProblem,
  BundleProblemCode,
  BundleReport,
  BundleSignature,
} from './verify/bundle-report.ts'
export type { RecordHeader, Outcome } from './verify/header.ts'
export type { KeyPurpose, LedgerKey, SignatureAlgorithm } from './verify/key-log.ts'
export type {
  Claims,
  Note,
  Problem,
  ProblemCode,
  SnapshotCheck,
  SubCheck,
  Verdict,
  Verdicts,
  VerificationReport,
  VouchedCheckpoint,
  Where,
} from './verify/report.ts'
