//! Plans that are repeated, fail and crash on a log at the service.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use serde_json::{Value, json};
use tresor_jobs::testing::{PlanFixture, check_plan};
use tresor_jobs::{JobLog, JobPlan, RecoveryPolicy, Scope, SubTask};
use tresor_model::{HostId, JobId, JobKind};
use tresor_problem::Problem;

use crate::pair::Service;

type World = Arc<Mutex<BTreeSet<&'static str>>>;

/// Makes something, and takes it away again.
struct Make(&'static str);

#[async_trait]
impl SubTask<World> for Make {
    fn name(&self) -> &'static str {
        self.0
    }

    async fn run(&self, world: &mut World, _: &Scope) -> Result<Value, Problem> {
        world.lock().unwrap().insert(self.0);
        Ok(json!({ "made": self.0 }))
    }

    async fn undo(&self, world: &mut World, _: Option<&Value>) -> Result<(), Problem> {
        world.lock().unwrap().remove(self.0);
        Ok(())
    }
}

struct OnAHost {
    service: Service,
    host: HostId,
    world: World,
}

#[async_trait]
impl PlanFixture for OnAHost {
    type Context = World;

    async fn reset(&self) {
        self.world.lock().unwrap().clear();
    }

    async fn plan(&self, id: JobId) -> JobPlan<World> {
        JobPlan {
            id,
            kind: JobKind::Backup,
            subject: "web01".to_owned(),
            lock: None,
            recovery: RecoveryPolicy::Unwind,
            params: json!({}),
            sub_tasks: vec![Box::new(Make("One")), Box::new(Make("Two"))],
        }
    }

    async fn context(&self, _: JobId) -> World {
        Arc::clone(&self.world)
    }

    async fn probe(&self) -> String {
        format!("{:?}", self.world.lock().unwrap())
    }

    async fn log(&self) -> Arc<dyn JobLog> {
        self.service.log(self.host).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_survives_every_crash() {
    let service = Service::new().await;
    let host = service.enrol().await;
    let world = World::default();
    check_plan(&OnAHost {
        service,
        host,
        world,
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_survives_every_crash_while_answers_are_lost() {
    let service = Service::new().await.cutting();
    let host = service.enrol().await;
    let world = World::default();
    check_plan(&OnAHost {
        service,
        host,
        world,
    })
    .await;
}
