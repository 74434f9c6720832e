//! The table. `docs/permissions.md` shows it; a test compares the two.

use tresor_model::HostId;

use super::Role;

/// One row: what each role may.
struct Row {
    name: &'static str,
    what: &'static str,
    admin: bool,
    operator: bool,
    reader: bool,
    /// Only on what is the host's own.
    host: bool,
    /// It removes, overwrites or shortens what is kept, or opens a way to that.
    destroys: bool,
}

macro_rules! yes {
    (yes) => {
        true
    };
    (no) => {
        false
    };
}

macro_rules! actions {
    ($($action:ident $name:literal $what:literal
        $admin:ident $operator:ident $reader:ident $host:ident $destroys:ident;)*) => {
        /// Everything that somebody can ask for.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Action {
            $(#[doc = $what] $action,)*
        }

        impl Action {
            /// All of them, in the order of the table.
            pub const ALL: &'static [Self] = &[$(Self::$action,)*];

            fn row(self) -> Row {
                match self {
                    $(Self::$action => Row {
                        name: $name,
                        what: $what,
                        admin: yes!($admin),
                        operator: yes!($operator),
                        reader: yes!($reader),
                        host: yes!($host),
                        destroys: yes!($destroys),
                    },)*
                }
            }
        }
    };
}

// Operators follow the cloud's "backup operator": they protect, run and restore; policies (how long
// things are kept), stopping and deleting are the administrator's.
actions! {
    //                                                                      admin operator reader host destroys
    VaultView       "vaults.view"       "See vaults and how full they are."         yes yes yes no  no;
    VaultAdd        "vaults.add"        "Make a vault or make one known."           yes no  no  no  no;
    VaultChange     "vaults.change"     "Change a vault's settings."                yes no  no  no  yes;
    VaultRemove     "vaults.remove"     "Forget a vault."                           yes no  no  no  yes;
    VaultKeys       "vaults.keys"       "Add, remove and rotate a vault's keys."    yes no  no  no  yes;

    HostView        "hosts.view"        "See hosts."                                yes yes yes no  no;
    HostEnrol       "hosts.enrol"       "Make an enrolment token."                  yes no  no  no  no;
    HostRevoke      "hosts.revoke"      "Shut a host out."                          yes no  no  no  no;
    HostRemove      "hosts.remove"      "Forget a host."                            yes no  no  no  no;

    DatasourceView  "datasources.view"  "See the VMs that were discovered."         yes yes yes no  no;
    DatasourceFind  "datasources.find"  "Have hosts look for VMs now."              yes yes no  no  no;

    ItemView        "items.view"        "See protected items."                      yes yes yes no  no;
    ItemProtect     "items.protect"     "Protect a VM by a policy that is there."   yes yes no  no  no;
    ItemChange      "items.change"      "Give a protected item another policy."     yes no  no  no  yes;
    ItemStop        "items.stop"        "Stop protection and keep the data."        yes no  no  no  no;
    ItemDeleteData  "items.delete-data" "Stop protection and delete the data."      yes no  no  no  yes;

    PolicyView      "policies.view"     "See policies."                             yes yes yes no  no;
    PolicyChange    "policies.change"   "Add, change and remove policies."          yes no  no  no  yes;

    JobView         "jobs.view"         "See jobs and what they did."               yes yes yes no  no;
    JobStart        "jobs.start"        "Start a backup, check, verification or copy." yes yes no no no;
    JobStartRemoval "jobs.start-removal" "Start expire or collect."                 yes no  no  no  yes;
    JobRepair       "jobs.repair"       "Repair a vault from a copy."               yes no  no  no  no;
    JobCancel       "jobs.cancel"       "Cancel a job."                             yes yes no  no  no;

    PointView       "points.view"       "See recovery points."                      yes yes yes no  no;
    PointKeep       "points.keep"       "Pin a recovery point, or bring a deleted one back." yes yes no no no;
    PointLock       "points.lock"       "Make a recovery point immutable until a date." yes no no no no;
    PointUnpin      "points.unpin"      "Take a pin back."                          yes no  no  no  yes;
    PointDelete     "points.delete"     "Delete a recovery point."                  yes no  no  no  yes;
    Restore         "points.restore"    "Restore to another place."                 yes yes no  no  no;
    RestoreOver     "points.restore-over" "Restore over a disk that is there."      yes yes no  no  yes;

    ProblemView     "problems.view"     "See problems, their causes and remedies."  yes yes yes no  no;
    AlertView       "alerts.view"       "See alerts."                               yes yes yes no  no;
    AlertResolve    "alerts.resolve"    "Resolve an alert."                         yes yes no  no  no;

    TokenView       "tokens.view"       "See which API tokens there are."           yes no  no  no  no;
    TokenAdd        "tokens.add"        "Make an API token."                        yes no  no  no  no;
    TokenRevoke     "tokens.revoke"     "Revoke an API token."                      yes no  no  no  no;

    AuditView       "audit.view"        "Read who changed what."                    yes yes yes no  no;
    MetricsView     "metrics.view"      "Read metrics."                             yes yes yes no  no;
    EventView       "events.view"       "Follow what happens."                      yes yes yes no  no;
    ConfigView      "config.view"       "See the service's settings, secrets apart." yes yes no no  no;
    ConfigChange    "config.change"     "Change the service's settings."            yes no  no  no  yes;
    CatalogRebuild  "catalog.rebuild"   "Rebuild the catalog from the vaults."      yes no  no  no  no;

    LinkOpen        "link.open"         "Open a host's link."                       no  no  no  yes no;
    LinkRenew       "link.renew"        "Renew the own certificate."                no  no  no  yes no;
    LinkReport      "link.report"       "Report the VMs of the own host."           no  no  no  yes no;
    LinkClaim       "link.claim"        "Take up a job for the own host."           no  no  no  yes no;
    LinkJobLog      "link.job-log"      "Write the log of a job that was taken up." no  no  no  yes no;
    DataAppend      "data.append"       "Add objects of the own domain to a vault." no  no  no  yes no;
    DataRead        "data.read"         "Read objects of the own domain."           no  no  no  yes no;
    DataOverwrite   "data.overwrite"    "Overwrite an object of a vault."           no  no  no  no  yes;
    DataDelete      "data.delete"       "Delete an object of a vault."              no  no  no  no  yes;
}

impl Action {
    /// Its name, as the audit log and refusals have it.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.row().name
    }

    /// What it is, in words.
    #[must_use]
    pub fn what(self) -> &'static str {
        self.row().what
    }

    /// Whether it removes, overwrites or shortens what is kept, or opens a way to that.
    #[must_use]
    pub fn destroys(self) -> bool {
        self.row().destroys
    }
}

/// Whether a role may do it at all. What a host may is bounded to its own besides: [`may_on`].
#[must_use]
pub fn may(role: Role, action: Action) -> bool {
    let row = action.row();
    match role {
        Role::Admin => row.admin,
        Role::Operator => row.operator,
        Role::Reader => row.reader,
        Role::Host(_) => row.host,
    }
}

/// Whether a role may do it on what belongs to a host.
#[must_use]
pub fn may_on(role: Role, action: Action, owner: HostId) -> bool {
    let own = match role {
        Role::Host(id) => id == owner,
        Role::Admin | Role::Operator | Role::Reader => true,
    };
    own && may(role, action)
}

/// The whole table, as `docs/permissions.md` has it.
#[must_use]
pub fn matrix() -> String {
    let mut text = String::from(
        "| action | what | admin | operator | reader | host | destroys |\n\
         | --- | --- | --- | --- | --- | --- | --- |\n",
    );
    for action in Action::ALL {
        let row = action.row();
        let marks = [row.admin, row.operator, row.reader, row.host, row.destroys];
        let [admin, operator, reader, host, destroys] =
            marks.map(|mark| if mark { "yes" } else { "–" });
        let (name, what) = (row.name, row.what);
        text.push_str(&format!(
            "| `{name}` | {what} | {admin} | {operator} | {reader} | {host} | {destroys} |\n"
        ));
    }
    text
}
