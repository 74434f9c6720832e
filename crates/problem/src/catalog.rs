//! The catalog itself. Keep it grouped by what the user was doing.

problems! {
    // ---- calling Tresor
    UsageError { what }
        title "The command cannot be understood"
        cause "{what}"
        remedy ["Run the same command with --help: it shows each option and an example."]
        retry AfterRemedy fault Usage exit Usage;
    ConfigUnreadable { path, reason }
        title "The configuration file cannot be read"
        cause "{path} cannot be read: {reason}."
        remedy ["Check the path that --config or TRESOR_CONFIG gives; an empty one reads no file.", "`tresor config example` prints a file with every option."]
        retry AfterRemedy fault Usage exit Usage;
    ConfigInvalid { path, wrong }
        title "The configuration file cannot be as it is"
        cause "In {path}, {wrong}"
        remedy ["Mend the lines that are named; `tresor config example` prints every option with what it may be.", "`tresor config check FILE` says whether all is right."]
        retry AfterRemedy fault Usage exit Usage;
    Interrupted { what }
        title "Stopped on request"
        cause "{what} was interrupted and unwound."
        remedy ["Run the same command again: what was stored already is not sent again."]
        retry Helps fault Usage exit Interrupted;

    // ---- vaults and keys
    VaultNotFound { location }
        title "There is no vault at this place"
        cause "{location} holds no vault: its header object `vault` is missing."
        remedy [
            "Check the path, and that the disk it lies on is mounted: `tresor vault list` shows the vaults this machine knows.",
            "Make a new vault with `tresor vault create {location}`.",
        ]
        retry AfterRemedy fault Usage exit NotFound;
    VaultExists { location }
        title "There is a vault already"
        cause "{location} already holds a vault, or files that are not Tresor's."
        remedy ["Use the vault that is there, or name an empty or new directory."]
        retry Never fault Usage exit Usage;
    VaultVersionUnknown { location, found }
        title "The vault was made by a newer Tresor"
        cause "The object {location} has format version {found}, which this program cannot read."
        remedy ["Install the Tresor release that made the vault, or a newer one."]
        retry AfterRemedy fault Usage exit Failure;
    VaultKeyRejected { location }
        title "The key does not open the vault"
        cause "No key slot of {location} opens with the key that was given."
        remedy [
            "Check that the key file or passphrase belongs to this vault.",
            "Use the recovery key that `tresor vault create` printed: `--key-file` with that text in a file.",
        ]
        retry AfterRemedy fault Usage exit Key;
    VaultKeyFileUnsafe { path, mode }
        title "The key file can be read by others"
        cause "{path} has mode {mode}; a key file must be readable by its owner only."
        remedy ["Run `chmod 600 {path}`, and change the key if others could have read it."]
        retry AfterRemedy fault Usage exit Key;
    VaultKeyMissing { location }
        title "No key was given for the vault"
        cause "Opening {location} needs a key and none was given."
        remedy [
            "Give `--key-file PATH`, or set TRESOR_KEY_FILE, or pass the systemd credential `tresor-key`.",
        ]
        retry AfterRemedy fault Usage exit Key;
    VaultDataKeyUnknown { location, object, number }
        title "Something in the vault is sealed by a key that this key does not give"
        cause "{object} in {location} needs data key {number}, which is in no key ring that was found."
        remedy [
            "If the key that was given opens a domain of its own, use a key of the vault's owner.",
            "Else the storage does not show the newest `keys/ring-…` object: bring it back from a copy of the storage.",
            "If no copy has such an object, somebody put {object} into the storage, and nobody can open it: delete it.",
        ]
        retry AfterRemedy fault Usage exit Key;
    VaultOwnerOnly { location }
        title "The key is not the vault owner's"
        cause "The key that was given opens one domain of {location}; this needs the keys of all."
        remedy ["Use a key of the vault's owner, or the recovery key."]
        retry AfterRemedy fault Usage exit Key;
    VaultKeySlotNotFound { location, slot }
        title "There is no such key slot"
        cause "{location} has no key slot {slot}."
        remedy ["Run `tresor vault key list`."]
        retry AfterRemedy fault Usage exit NotFound;
    VaultKeySlotNeeded { slot, reason }
        title "The key slot must stay"
        cause "Key slot {slot} was not removed: {reason}."
        remedy ["Add another key with `tresor vault key add`, then remove this one with `--key-file` and that key."]
        retry AfterRemedy fault Usage exit Usage;
    VaultStorageFull { location, object }
        title "The vault's storage is full"
        cause "Writing {object} to {location} failed: no space is left."
        remedy [
            "Free or add space where {location} lies.",
            "Start the backup again: what was stored already is not sent again.",
        ]
        retry AfterRemedy fault Storage exit Storage;
    VaultStorageFailed { location, object, reason }
        title "The vault's storage failed"
        cause "Access to {object} in {location} failed: {reason}"
        remedy [
            "Look for I/O errors of the storage (`dmesg`, the server's log) and check the mount and its permissions.",
            "For an object store, check that the bucket is there, the credentials (AWS_*, AZURE_*, GOOGLE_* in the environment, or the credentials file) and this machine's clock.",
            "Run `tresor verify` once it works again.",
        ]
        retry Helps fault Storage exit Storage;
    VaultObjectRetained { location, object, reason }
        title "The storage holds this object until a date"
        cause "{object} in {location} was not removed, nor hidden: {reason}."
        remedy [
            "Wait until the date: that it cannot be removed before is what was asked for, by `tresor vault lock`, by `tresor points lock` or by a rule of the bucket's own.",
            "Where the lock is of governance mode and was a mistake, somebody with s3:BypassGovernanceRetention can remove the version with the store's own tools.",
        ]
        retry AfterRemedy fault Storage exit Storage;
    VaultHoldFailed { location, object, reason }
        title "The storage does not hold what is immutable"
        cause "{location} was asked to hold {object} until a date and does not: {reason}. What was marked in the vault stays so: Tresor does not remove it, others could."
        remedy [
            "Allow these credentials s3:GetBucketObjectLockConfiguration, s3:GetObjectRetention and s3:PutObjectRetention, and look at what the server keeps: `tresor vault doctor`.",
            "Then give the same command again: it holds what is not held yet.",
            "If the server has no Object Lock that works, say so, `--object-lock off` with `tresor vault create` or `tresor vault set`: then only Tresor keeps what is immutable.",
        ]
        retry AfterRemedy fault Storage exit Storage;
    VaultStorageUnfit { location, check, reason }
        title "The storage does not keep what a vault relies on"
        cause "{location} broke a promise: {check} ({reason})."
        remedy [
            "Look at the whole examination: `tresor vault doctor {location}`.",
            "Use a server, or a newer version of this one, that honours conditional puts (`If-None-Match`) and whole, exact answers; a proxy in between must pass all headers on.",
        ]
        retry AfterRemedy fault Storage exit Storage;
    VaultNearDisk { location, vm, disk, image, shared }
        title "The vault lies on the same disk as the VM"
        cause "The vault {location} and {image}, disk {disk} of VM {vm}, are on {shared}: what destroys the one destroys the other."
        remedy [
            "Keep a second copy elsewhere: make a vault on another disk, machine or object store, and give `tresor copy --to` its name after each backup (docs/second-copy.md).",
            "Or make the vault itself elsewhere.",
        ]
        retry AfterRemedy fault Host exit Failure;
    VaultDamaged { location, object, reason }
        title "The vault is damaged"
        cause "The object {object} in {location} is damaged or missing: {reason}"
        remedy [
            "Run `tresor verify` to learn which recovery points are affected.",
            "Run `tresor repair`: it puts back what a copy in another vault has; the next backup stores again what the disks still have.",
        ]
        retry Never fault Storage exit Damage;
    ChunkDamaged { chunk, disk, offset, object, reason }
        title "A piece of a disk cannot be read from the vault"
        cause "Chunk {chunk} of disk {disk} at byte {offset} cannot be read: {object} is damaged or missing ({reason})."
        remedy [
            "Restore an older or newer recovery point: `tresor points list` shows them.",
            "Run `tresor verify`, then `tresor repair`: it puts back what a copy in another vault has; the next backup stores again what the disk still has.",
        ]
        retry Never fault Storage exit Damage;
    VaultClaimFalse { location, object, reason }
        title "Another machine's object does not hold what it says"
        cause "{object} in {location} was not written by this machine, and is not what the vault's index has it to be: {reason} The backup did not use it and stored its own copy."
        remedy [
            "Run `tresor verify`: it names the recovery points that rest on it, those of other machines.",
            "Look at `tresor vault doctor {location}` and at the storage itself: damage looks the same.",
            "If the storage is whole, a machine that has the vault's key writes lies: take its access to the storage away, and give each machine that stays a domain of its own (`tresor vault key add --own-domain`, docs/keys.md).",
        ]
        retry Never fault Storage exit Damage;
    RepairIncomplete { location, points, bytes }
        title "Something in the vault stays lost"
        cause "{points} recovery points of {location} cannot be read whole: {bytes} bytes are lost, and no copy that was found has them."
        remedy [
            "Name a vault with copies by `--from`: `tresor points list --vault VAULT` shows what is a copy.",
            "Run `tresor backup`: what the VM's disks still have is stored again, for the old points too.",
            "Restore another recovery point: those that the list does not name are whole.",
        ]
        retry AfterRemedy fault Storage exit Damage;
    SessionLost { session }
        title "Another process ended this backup's session"
        cause "Session {session} was declared dead while it was still writing: this process stood still for too long."
        remedy ["Start the backup again: what was stored already is not sent again."]
        retry Helps fault Host exit Busy;

    // ---- VMs
    VmNotFound { vm }
        title "Tresor does not know this VM"
        cause "No VM named {vm} is registered."
        remedy ["See `tresor vm list`, or register it: `tresor vm add {vm} --qmp SOCKET`."]
        retry AfterRemedy fault Usage exit NotFound;
    VmExists { vm }
        title "The VM is registered already"
        cause "A VM is registered as {vm}, and neither its name nor its UUID can be registered twice."
        remedy [
            "See `tresor vm show {vm}`: if that is another VM, choose another name.",
            "To register it with other options, forget it first: `tresor vm remove {vm}` keeps its recovery points.",
        ]
        retry Never fault Usage exit Usage;
    VmUnreachable { vm, socket, reason }
        title "The VM's QEMU cannot be reached"
        cause "The QMP socket {socket} of VM {vm} does not answer: {reason}"
        remedy [
            "Check that the VM runs and was started with `-qmp unix:{socket},server=on,wait=off`.",
            "If its socket is elsewhere now, say where: `tresor vm set {vm} --qmp SOCKET`.",
        ]
        retry AfterRemedy fault Host exit Vm;
    QmpBusy { vm, socket, reason }
        title "Another program uses the VM's QMP socket"
        cause "The QMP socket {socket} of VM {vm} serves one client at a time, and has one: {reason}."
        remedy [
            "Close the program that is connected, or wait until it is done, and run the command again.",
            "Better: start QEMU with a second QMP socket, for Tresor alone (`-qmp unix:PATH,server=on,wait=off` may be given twice), and name it: `tresor vm set {vm} --qmp PATH`.",
        ]
        retry AfterRemedy fault Host exit Busy;
    VmIdentityMismatch { vm, expected, found }
        title "Another VM answers at this socket"
        cause "VM {vm} was registered with UUID {expected}, but the VM that answers has {found}."
        remedy [
            "Register the VM that is there now under its own name: `tresor vm add`.",
            "If it has taken the place of {vm} for good, forget that one: `tresor vm remove {vm}` keeps its recovery points.",
        ]
        retry AfterRemedy fault Host exit Vm;
    VmBusy { vm, job, holder }
        title "Another job works on this VM"
        cause "Job {job}, on {vm}, is not over; one at a time may run. It belongs to {holder}."
        remedy ["Wait for it (`tresor jobs show {job}`), or stop it: `tresor jobs cancel {job}`."]
        retry Helps fault Usage exit Busy;
    DiskUnsupported { vm, disk, reason }
        title "A disk of the VM cannot be backed up"
        cause "Disk {disk} of VM {vm} cannot be backed up: {reason}"
        remedy [
            "See `tresor vm show {vm}`: it says of each disk whether it is backed up, and if not, why.",
            "Register the VM anew (`tresor vm remove {vm}`, `tresor vm add`) with `--exclude DISK` for what cannot be backed up; one disk must stay.",
        ]
        retry AfterRemedy fault Host exit Vm;
    DiskImageMissing { vm, disk, path }
        title "A disk image of the stopped VM is missing"
        cause "VM {vm} does not run, and the image of its disk {disk} is not at {path}."
        remedy [
            "Check that the file system it lies on is mounted, and bring the image back to its place.",
            "If the image was moved, start the VM from where it is now: Tresor learns the place at the next backup of the running VM.",
            "If the disk is gone for good, start the VM without it once and back it up.",
        ]
        retry AfterRemedy fault Host exit Vm;
    DiskImageInUse { vm, disk, path, holder, socket }
        title "A disk image of the stopped VM is in use"
        cause "Nobody listens at the QMP socket {socket} of VM {vm}, but the image of its disk {disk}, {path}, is held by {holder}."
        remedy [
            "If that is the VM itself, started in another way: register it anew with the QMP socket it has now (`tresor vm remove {vm}`, `tresor vm add {vm} --qmp SOCKET`).",
            "If it is another program, let it end, then start the backup again.",
        ]
        retry AfterRemedy fault Host exit Vm;
    VmStarted { vm }
        title "The VM was started while it was backed up"
        cause "VM {vm} did not run when its backup began, and was started before it was over: its disks were left to it."
        remedy [
            "Nothing, when the backup went on with the running VM (`tresor jobs list`).",
            "Else start the backup again once the VM's QEMU answers at its QMP socket: it is still incremental, and what was stored already is not sent again.",
        ]
        retry Helps fault Usage exit Vm;
    SnapshotFailed { vm, step, reason }
        title "The snapshot could not be taken"
        cause "This step failed on VM {vm}: {step}: {reason}"
        remedy [
            "See what QEMU is doing with this VM's disks (another backup, a migration, a block job), and let it end.",
            "If the reason is about a file or a directory of this host, check space and permissions there; `--fleecing-dir` names another place for fleecing.",
            "Start the backup again.",
        ]
        retry Helps fault Host exit Vm;
    SnapshotLost { vm, disk, reason }
        title "The snapshot was lost during the transfer"
        cause "The point-in-time image of disk {disk} of VM {vm} broke: {reason}. The VM and its data are not affected."
        remedy [
            "Give the fleecing store more space or a faster place: `tresor backup --fleecing-dir DIR`.",
            "Start the backup again: the next one is still incremental, and what was stored already is not sent again.",
        ]
        retry AfterRemedy fault Host exit Vm;
    TrackingContradicted { vm, disk, offset }
        title "A disk changed without a sign"
        cause "Disk {disk} of VM {vm} is not at byte {offset} what the last recovery point has there, and no write was tracked that changed it. The disk was read whole instead, so that the new recovery point is right; points since the change may lack it."
        remedy [
            "Find what writes to the image beside the VM's own QEMU and stop it: a mount of the image (loop, nbd, guestfish), a repair or resize tool, another hypervisor, a copy that was put in its place, replication below it.",
            "Look for errors of the storage that the image lies on (`dmesg`, SMART): damage changes data without a write, too.",
            "Compare the whole disk at the next backup: `tresor backup {vm} --reread all`.",
        ]
        retry Never fault Host exit Vm;
    ConsistencyNotReached { vm, required, achieved, reason }
        title "The recovery point would be less consistent than required"
        cause "{vm} could only be backed up {achieved}, and {required} was required: {reason}"
        remedy [
            "Install and start the QEMU guest agent in the guest, and register the VM with its socket: `tresor vm remove {vm}`, then `tresor vm add {vm} --agent SOCKET ...`.",
            "For application consistency install Tresor's freeze hook in the guest (docs/guest.md).",
            "Or accept less with `--require crash`.",
        ]
        retry AfterRemedy fault Guest exit Vm;
    GuestLeftFrozen { vm, reason }
        title "The guest may still be frozen"
        cause "The guest agent of VM {vm} accepted a freeze and no thaw was confirmed: {reason}. A guard process goes on thawing until the agent answers."
        remedy [
            "Look into the VM's console: is the guest agent running? Restart it there if a shell still works.",
            "If the guest stays frozen, resetting the VM (`system_reset` on its QMP socket) frees it; data that was synced before the freeze is safe.",
        ]
        retry AfterRemedy fault Guest exit Vm;

    // ---- recovery points, restore, verify
    PointNotFound { point }
        title "There is no such recovery point"
        cause "No recovery point {point} is in the vault."
        remedy ["`tresor points list` shows the points of each VM."]
        retry AfterRemedy fault Usage exit NotFound;
    PointExpired { point }
        title "The recovery point has expired"
        cause "Recovery point {point} was marked as expired: it is not listed any more, and its space will be freed."
        remedy ["`tresor points list` shows the points that are left."]
        retry Never fault Usage exit NotFound;
    PointDeleted { point }
        title "The recovery point is deleted"
        cause "Recovery point {point} was deleted; all of it is still there."
        remedy ["Bring it back first: `tresor points undelete {point}`."]
        retry AfterRemedy fault Usage exit NotFound;
    PointHeld { point, reason }
        title "The recovery point must not be removed"
        cause "Recovery point {point} stays: {reason}. Nothing was changed."
        remedy [
            "See `tresor points list`: it shows what is pinned, and until when a point is immutable.",
            "If it is pinned and not wanted any more, take the pin back: `tresor points unpin {point}`. What is immutable stays until its time.",
        ]
        retry AfterRemedy fault Usage exit Usage;
    PlanUnknown { plan }
        title "There is no such plan"
        cause "No plan {plan} was made on this machine."
        remedy ["Make one with `tresor expire --dry-run`: it prints the id."]
        retry AfterRemedy fault Usage exit NotFound;
    PlanChanged { plan, now }
        title "The plan is not what would be done now"
        cause "Plan {plan} was made when the vault was in another state: today it would be {now}. Nothing was changed."
        remedy ["Look at the new plan with `tresor expire --dry-run`, and apply that one."]
        retry AfterRemedy fault Usage exit Usage;
    RestoreTargetInUse { path, holder }
        title "The restore target is in use"
        cause "{path} is held by {holder}."
        remedy ["Stop the VM or program that uses it, or restore to another place with `--to DIR`."]
        retry AfterRemedy fault Host exit Busy;
    RestoreTargetExists { path }
        title "The restore target exists"
        cause "{path} exists and restoring would overwrite it."
        remedy ["Give an empty directory with `--to DIR`, or allow it with `--overwrite`."]
        retry AfterRemedy fault Usage exit Usage;
    RestoreTargetFailed { path, reason }
        title "The restore target cannot be written"
        cause "Writing {path} failed: {reason}"
        remedy ["Check space and permissions of the target, then run the same command again: it goes on where it stopped."]
        retry AfterRemedy fault Host exit Failure;

    RestoreTargetNotAllowed { path, allowed }
        title "Jobs may not restore to this place"
        cause "{path} is not below a directory that the host's administrator allowed for restores: {allowed}."
        remedy [
            "Name a directory below one of them; a relative one is below the first.",
            "Or have the administrator of the host allow it with `--restore-dir DIR`.",
            "Or restore as that host's administrator: `tresor restore POINT --to DIR`.",
        ]
        retry AfterRemedy fault Usage exit Usage;

    // ---- the service: who is who
    IdentityUnusable { path, reason }
        title "A key or certificate of the service or the host cannot be used"
        cause "{path} cannot be used: {reason}."
        remedy [
            "Bring {path} back from a copy, or correct its owner and mode: a private key belongs to the user that the service runs as, with mode 0600.",
            "If others could read a private key, change it: docs/identity.md says how for each file.",
        ]
        retry AfterRemedy fault Host exit Key;
    EnrolmentTokenInvalid { reason }
        title "This is no enrolment token"
        cause "The enrolment token cannot be used: {reason}."
        remedy ["Copy the whole token again, as the service showed it; it begins with `tresor-enrol-1-`."]
        retry AfterRemedy fault Usage exit Key;
    EnrolmentTokenUsed { reason }
        title "The enrolment token is not valid any more"
        cause "The service does not take this enrolment token: {reason}."
        remedy [
            "Make a new enrolment token and enrol the host with it: each lets one host in, once, for a limited time.",
            "If nobody of yours used it, revoke the host that did: somebody else has read the token.",
        ]
        retry AfterRemedy fault Usage exit Key;
    HostCertificateExpired { host, reason }
        title "The host's certificate has ended"
        cause "Host {host} was away for longer than its certificate lasts, so it could not renew it: {reason}."
        remedy [
            "Compare the clocks of the host and the service.",
            "If they agree, enrol the host again with a new enrolment token; its VMs and their recovery points stay.",
        ]
        retry AfterRemedy fault Host exit Key;
    HostNotEnrolled { host, reason }
        title "The service does not let the host in"
        cause "Host {host} is not let in: {reason}."
        remedy ["If the host is to be let in, enrol it with a new enrolment token."]
        retry AfterRemedy fault Host exit Key;
    HostNameTaken { name }
        title "Another host has that name"
        cause "A host called {name} is known already, and the token is not for it."
        remedy [
            "Enrol this host under another name.",
            "If it is the same host, make a token for it by its name: it keeps its id, its VMs and their recovery points.",
        ]
        retry AfterRemedy fault Usage exit Usage;
    HostKeysUsedUp { location }
        title "The host has too many keys in the vault"
        cause "The host came with a new key for vault {location} again, after it had made several there."
        remedy [
            "Find out why its state directory does not keep its key, in `keys/`, and bring the last one back.",
            "Remove key slots of the host that are lost: `tresor vault key list`, `tresor vault key remove SLOT`.",
        ]
        retry AfterRemedy fault Host exit Key;
    ServerNotTrusted { server, reason }
        title "The server is not the service that is expected"
        cause "{server} did not prove to be the service: {reason}."
        remedy [
            "Check the address: something else may answer there, or read along in between.",
            "If a clock is wrong, correct it: this machine's and the service's must agree within an hour.",
            "If the service has a new certificate authority, enrol the host again, or give the API client the new `ca.crt` or fingerprint.",
        ]
        retry AfterRemedy fault Host exit Failure;
    ServiceUnreachable { server, reason }
        title "The service cannot be talked to"
        cause "{server} was reached, and the connection did not come about: {reason}."
        remedy [
            "Check that Tresor's service answers at {server}, and that no proxy in between ends its TLS connections.",
            "Install releases of Tresor on both sides that are at most one version apart.",
        ]
        retry Helps fault Host exit Failure;
    ServerAnswerUnusable { server, reason }
        title "The server's answer cannot be used"
        cause "{server} answered what Tresor's service does not: {reason}."
        remedy [
            "Check that Tresor's service answers at {server}, and no other program or proxy in front of it.",
            "Install releases of Tresor on both sides that are at most one version apart.",
        ]
        retry AfterRemedy fault Host exit Failure;
    ApiTokenInvalid { reason }
        title "This is no API token"
        cause "The API token cannot be used: {reason}."
        remedy ["Copy the whole token again, as the service showed it when it was made, or have a new one made."]
        retry AfterRemedy fault Usage exit Key;
    LoginRefused { reason }
        title "The identity provider's word lets nobody in"
        cause "The login did not succeed: {reason}."
        remedy [
            "Log in again, from the service's own page.",
            "Where a group is missing: the administrator gives groups their roles with --oidc-admin, --oidc-operator and --oidc-reader (docs/login.md).",
        ]
        retry AfterRemedy fault Usage exit Key;
    IdentityProviderUnusable { issuer, reason }
        title "The identity provider cannot be used"
        cause "Nobody can be identified by the OpenID Connect provider: {issuer} cannot be used: {reason}."
        remedy [
            "Look whether the service's machine reaches the provider, and trusts its certificate (--oidc-ca-file).",
            "Compare --oidc-issuer with the `issuer` in the provider's /.well-known/openid-configuration: both must be the same text.",
            "Until then API tokens open the page as before.",
        ]
        retry Helps fault Host exit Failure;
    PermissionDenied { role, action }
        title "The role does not permit this"
        cause "The role {role} may not do `{action}`."
        remedy ["Use a token of a role that may: docs/permissions.md has the table."]
        retry AfterRemedy fault Usage exit Usage;

    // ---- requests over HTTP
    RequestMalformed { what }
        title "The request cannot be understood"
        cause "{what}"
        remedy ["Mend what is named: /api/v1/openapi.json describes each request, and docs/api/README.md how they are made."]
        retry Never fault Usage exit Usage;
    RequestTooLarge { limit }
        title "The request is too large"
        cause "The body of the request is longer than {limit} bytes."
        remedy ["Send less at once."]
        retry Never fault Usage exit Usage;
    RequestTimedOut { limit_s }
        title "The answer took too long"
        cause "There was no answer within {limit_s} s. What was begun is carried out all the same."
        remedy ["Look whether it has happened, or send the request again with the same Idempotency-Key."]
        retry Helps fault Host exit Failure;
    RequestKeyReused { key }
        title "The idempotency key belongs to another request"
        cause "The Idempotency-Key {key} was used for another request before. Nothing was done."
        remedy ["Make a new key for each request; use one again only to send the very same request again."]
        retry Never fault Usage exit Usage;
    RequestInProgress { key }
        title "The same request is being worked on"
        cause "A request with the Idempotency-Key {key} has come and has no answer yet."
        remedy ["Send it again a little later: it gives the first one's answer then.", "If it stays so, the service was ended meanwhile: look whether it has happened, and send it with a new key if not."]
        retry Helps fault Usage exit Busy;
    RevisionNeeded { object, name }
        title "A change needs the revision that it is made to"
        cause "There is a {object} {name}, and the request does not say which revision it is to replace."
        remedy ["Read it, and send its ETag as If-Match."]
        retry AfterRemedy fault Usage exit Usage;
    TooManyRequests { who, pause_s }
        title "Too many requests at once"
        cause "{who} asks for more than the service answers at a time."
        remedy ["Wait {pause_s} s, as Retry-After says, and then ask less often; follow /api/v1/events in place of asking again and again."]
        retry Helps fault Usage exit Busy;
    ProtectionStopped { vm }
        title "Protection of the VM is stopped"
        cause "No backups are made of {vm}: its protection was stopped."
        remedy ["Let it go on first: resume the protected item."]
        retry AfterRemedy fault Usage exit Usage;

    // ---- jobs and the machine Tresor runs on
    JobNotFound { job }
        title "There is no such job"
        cause "No job {job} is recorded."
        remedy ["`tresor jobs list` shows the jobs."]
        retry AfterRemedy fault Usage exit NotFound;
    VmVanished { vm, since }
        title "A protected VM is not there any more"
        cause "VM {vm} has not been found since {since}: nothing answers at its socket, and its images cannot be described."
        remedy [
            "If it was moved to another host, let that host find it (`tresor serve --discover`, or `tresor host` there): it is followed by its UUID.",
            "If it answers at another socket, say so: `tresor vm set {vm} --qmp SOCKET`.",
            "If it was removed on purpose, stop its protection: `tresor unprotect {vm}`, with `--delete-data` when its recovery points are to go as well.",
        ]
        retry AfterRemedy fault Host exit Vm;
    NothingExpires { vault }
        title "Nothing says that recovery points go"
        cause "No policy of a VM with recovery points in vault {vault} has rules of retention, and no VM has rules of its own."
        remedy [
            "Give the policy a `[retention]` (docs/policies.md), or the VM rules: `tresor vm set VM --keep-daily 7`.",
            "To delete single recovery points: `tresor points delete POINT`.",
        ]
        retry AfterRemedy fault Usage exit Usage;
    JobNotHere { job }
        title "This host does not do such jobs"
        cause "A {job} job was queued for a host that has no catalog of its own, or for nobody who does such jobs."
        remedy ["Queue it for the machine that `tresor serve` runs on: it has the catalog and the vaults' keys."]
        retry Never fault Usage exit Usage;
    SubTaskTimedOut { sub_task, limit_s }
        title "A sub-task took too long"
        cause "{sub_task} did not end within its limit of {limit_s} s and was stopped."
        remedy [
            "See with `tresor jobs show` what it waited for.",
            "Start the job again, with a higher limit if the work is really that long (`tresor backup --transfer-limit SECONDS`).",
        ]
        retry Helps fault Host exit Failure;
    JobAbandoned { job }
        title "The process that ran the job died"
        cause "Job {job} was left behind by a process that ended without finishing it; what it had begun was undone."
        remedy ["Start the job again: what was stored already is not sent again."]
        retry Helps fault Host exit Failure;
    PolicyInvalid { policy, wrong }
        title "The policy cannot be as it is"
        cause "The policy {policy} was refused: {wrong}"
        remedy ["Mend the fields that are named; docs/policies.md says what each may be.", "`tresor policies show nightly` prints one that works."]
        retry Never fault Usage exit Usage;
    CannotListen { address, reason }
        title "The service cannot listen"
        cause "The address {address} cannot be listened at: {reason}"
        remedy ["If another program has the port, choose another one with --listen.", "If the address is not one of this machine, take one that is, or 0.0.0.0 for all."]
        retry AfterRemedy fault Host exit Usage;
    ServiceDown { since }
        title "The service does not run"
        cause "No process of the service has given a sign of life since {since}: nothing is backed up by itself."
        remedy ["Start it: `systemctl start tresor`, or `tresor serve`.", "Look at its log for why it ended: `journalctl -u tresor`."]
        retry AfterRemedy fault Host exit Failure;
    ProtectionAtRisk { count, vms }
        title "VMs are not as protected as their policies say"
        cause "{count} VMs are late or have a problem that does not pass by itself: {vms}"
        remedy ["`tresor status` says for each what is wrong and what to do."]
        retry AfterRemedy fault Usage exit Failure;
    RecoveryPointLate { vm, last, due }
        title "A VM's next recovery point should be there"
        cause "The last recovery point of {vm} is {last}, and by its policy the next one had to be there at {due}."
        remedy [
            "See why: `tresor jobs list` shows the last backups and `tresor jobs show` what went wrong; `tresor status` shows when the next one starts.",
            "Make one now with `tresor backup {vm}`.",
            "If its backups take longer than the policy allows for, give it more time (docs/policies.md).",
        ]
        retry Helps fault Host exit Failure;
    NotificationFailed { channel, reason }
        title "Notifications do not get through"
        cause "Nothing can be sent by the channel {channel}: {reason}."
        remedy [
            "See to what the reason names: the server, its address, its certificate, the password or the way there.",
            "Try it with `tresor notify test {channel}`; what waits is sent by itself then.",
            "If it is set up wrongly, `tresor notify remove {channel}` and add it again.",
        ]
        retry Helps fault Host exit Failure;
    ObjectNotFound { object, name }
        title "There is no such object"
        cause "There is no {object} {name}."
        remedy ["Look at the list of what there is: the name may have a slip, or somebody has removed or renamed it."]
        retry AfterRemedy fault Usage exit NotFound;
    ObjectExists { object, name }
        title "The name is taken"
        cause "There is a {object} {name} already."
        remedy ["Choose another name, or change the one that is there."]
        retry AfterRemedy fault Usage exit Usage;
    ObjectInUse { object, name }
        title "Something else needs this object"
        cause "The {object} {name} is in use: something that is registered refers to it. Nothing was changed."
        remedy ["Remove what refers to it first, or let it refer to another one; then try again."]
        retry AfterRemedy fault Usage exit Usage;
    ObjectChanged { object, name }
        title "Somebody else was faster"
        cause "The {object} {name} was changed since it was read. Nothing was overwritten."
        remedy ["Read it again, look at what has changed, and make your change to that."]
        retry AfterRemedy fault Usage exit Usage;
    StateUnusable { path, reason }
        title "Tresor's state directory cannot be used"
        cause "The state in {path} cannot be used: {reason}"
        remedy [
            "Check permissions and free space of {path}, or choose another place with `--state-dir`.",
            "If the catalog is damaged, bring the file back from a copy. Nothing in it is needed to restore: `tresor restore --vault DIR --key-file FILE` with another `--state-dir` does without it.",
        ]
        retry AfterRemedy fault Host exit Failure;
    DatabaseUnreachable { database, reason }
        title "The database of the catalog is away"
        cause "The database {database} cannot be talked to: {reason}. What needs it waits or is refused; `tresor serve` goes on by itself when it is back."
        remedy [
            "Start the database server, or mend the way to it; check host, port and `sslmode` of the URL (docs/service.md).",
            "To restore without the catalog, use another `--state-dir` and no `--database`: `tresor restore --vault DIR --key-file FILE`.",
        ]
        retry Helps fault Host exit Failure;
    DatabaseRefused { database, reason }
        title "The database does not let Tresor in"
        cause "The database {database} refuses what Tresor needs: {reason}."
        remedy [
            "Check user, password and name of the database in the URL, and the server's pg_hba.conf.",
            "The user must own the database, or be allowed to make tables in it: docs/service.md has the two commands.",
        ]
        retry AfterRemedy fault Host exit Key;
    DatabaseForeign { database }
        title "The database is another program's"
        cause "{database} holds tables, and they are no catalog of Tresor. Nothing in it was changed."
        remedy ["Give Tresor a database of its own: an empty one, which it fills."]
        retry AfterRemedy fault Usage exit Usage;
    DatabaseVersionUnknown { database, found, supported }
        title "A newer Tresor made the catalog"
        cause "The schema of {database} has version {found}; this program knows up to {supported}. Nothing in it was changed."
        remedy ["Install the release of Tresor that the other processes on this database run, or a newer one."]
        retry AfterRemedy fault Usage exit Failure;
    DatabaseFull { database }
        title "There is no space for the catalog"
        cause "Writing to {database} failed: no space is left. What was to be written was not, and nothing else was lost."
        remedy ["Free or add space where the catalog lies. `tresor serve` goes on by itself then; give other commands again."]
        retry AfterRemedy fault Host exit Failure;
    AuthorityForeign { dir, found, expected }
        title "This process has another certificate authority than the others"
        cause "The services on this database are known by the authority {expected}; {dir} holds {found}."
        remedy [
            "Stop this process, replace {dir} by a copy of that directory from a machine where `tresor serve` runs (keep owner and modes: it holds private keys), and start it again.",
            "If no such machine is left, start with `--adopt-authority`: this process' authority counts from then on, and hosts and API clients must be given it.",
        ]
        retry AfterRemedy fault Host exit Key;
    DatabaseBackupNotFound { location }
        title "The vault has no backup of a service's database"
        cause "No backup of a database that was asked for is in the vault in {location}."
        remedy [
            "List what there is: `tresor catalog restore {location} --list`. Another vault of the service may have one.",
            "Without one, what the vault itself knows comes back: `tresor catalog rebuild --vault {location}`. Policies, protected VMs and tokens are to be made anew, and hosts enrol again.",
        ]
        retry AfterRemedy fault Usage exit Failure;
    DatabaseBackupUnusable { point, reason }
        title "A backup of the database cannot be read"
        cause "Recovery point {point} is no backup of a database that this program can read: {reason}."
        remedy [
            "Take an older one: `tresor catalog restore VAULT --list`, then `--at TIME`.",
            "If a newer Tresor made it, install that release.",
        ]
        retry AfterRemedy fault Storage exit Failure;
    CatalogPresent { place }
        title "There is a database already"
        cause "{place} belongs to an installation, and restoring over it would lose what it knows. Nothing was changed."
        remedy [
            "Restore into another place: `--into DIR`, or an empty database.",
            "To replace what is there, end all its processes and give the command with `--overwrite`.",
        ]
        retry AfterRemedy fault Usage exit Usage;
    AnotherServiceWrites { installation, point, at }
        title "Two services take themselves for the same one"
        cause "The backup {point} of the database of installation {installation}, made at {at}, is not of this service. It was restored while the old one still works, or the old one came back."
        remedy ["Decide which of the two goes on, end the other one, and remove its state directory: docs/service.md says what both have done meanwhile."]
        retry AfterRemedy fault Host exit Failure;
    HostShutOut { host }
        title "The host that did the job was shut out"
        cause "Host {host} had begun this job and was revoked or removed, so nobody waits for it any more. Had the job committed, its recovery point is in the vault; a guest that was frozen is thawed by its guard process."
        remedy [
            "What the job may have left in QEMU on {host} is ended by the next backup of the VM there, or by `tresor reconcile` on that machine.",
            "If the host comes back, let it in with a new token: `tresor hosts token {host}`.",
            "If the VM runs elsewhere now, protect it there.",
        ]
        retry AfterRemedy fault Host exit Failure;
    VmElsewhere { vm, host }
        title "The VM is on another machine"
        cause "VM {vm} is registered on host {host}, and this command works next to the VM's disks."
        remedy [
            "Run the command on {host}.",
            "If the VM has moved here, say so: `tresor vm set {vm} --qmp SOCKET`.",
        ]
        retry AfterRemedy fault Usage exit Usage;
    Internal { what }
        title "Tresor met a case it does not handle"
        cause "{what}"
        remedy ["This is a defect of Tresor: please report it with the output of `tresor jobs show`."]
        retry Helps fault Tresor exit Failure;
}
