//! Copies between two object stores of different providers, and to stores that this machine's catalog
//! does not know.

use tokio::process::Command;
use tresor_model::VmId;
use tresor_testkit::stores::{AZURITE_ACCOUNT, AZURITE_KEY, Azurite, Moto};
use tresor_vault::{KeyMaterial, Vault};

use crate::{
    lab::{Lab, Run, finish, write_private},
    retention::{days, points_in},
};

const S3: &str = "s3://bucket/vault";
const AZURE: &str = "az://container/second";

/// Both kinds of credentials, as in the environment of a service.
fn with_credentials(command: &mut Command) -> &mut Command {
    command
        .env("AWS_ACCESS_KEY_ID", "AK")
        .env("AWS_SECRET_ACCESS_KEY", "SK")
        .env("AZURE_STORAGE_ACCOUNT_KEY", AZURITE_KEY)
}

async fn run(lab: &Lab, args: &[&str]) -> Run {
    let mut command = lab.command(args);
    finish(args, with_credentials(&mut command).spawn().unwrap()).await
}

struct Stores {
    moto: Moto,
    azurite: Azurite,
}

impl Stores {
    async fn start() -> Self {
        let (moto, azurite) = (Moto::start().unwrap(), Azurite::start().unwrap());
        moto.make_bucket("bucket", false).await.unwrap();
        azurite.make_container("container").await.unwrap();
        Self { moto, azurite }
    }

    fn s3(&self) -> [String; 3] {
        ["--endpoint", self.moto.url(), "--allow-http"].map(str::to_owned)
    }

    fn azure(&self, prefix: &str) -> Vec<String> {
        let options = [
            ("endpoint", Some(self.azurite.url())),
            ("account", Some(AZURITE_ACCOUNT.to_owned())),
            ("allow-http", None),
        ];
        let words = options
            .into_iter()
            .flat_map(|(option, value)| [Some(format!("--{prefix}{option}")), value]);
        words.flatten().collect()
    }
}

fn join<'a>(args: &[&'a str], more: &'a [String]) -> Vec<&'a str> {
    let more = more.iter().map(String::as_str);
    args.iter().copied().chain(more).collect()
}

/// Points are made in S3, copied to Azure, and restored from there with S3 gone.
#[tokio::test]
async fn from_s3_to_azure() {
    let (lab, stores) = (Lab::without_vault(), Stores::start().await);
    let s3 = stores.s3();
    let made = run(&lab, &join(&["vault", "create", S3], &s3)).await.ok();
    let azure = stores.azure("");
    let second = run(&lab, &join(&["vault", "create", AZURE], &azure))
        .await
        .ok();
    let points = {
        let settings = tresor_backend_object::Settings {
            endpoint: Some(stores.moto.url().to_owned()),
            allow_http: true,
            ..Default::default()
        };
        let secrets = tresor_backend_object::Secrets::default()
            .with("AWS_ACCESS_KEY_ID", "AK")
            .with("AWS_SECRET_ACCESS_KEY", "SK");
        let place = tresor_backend_object::Place::parse(S3).unwrap().unwrap();
        let store = tresor_backend_object::ObjectBackend::open(place, &settings, &secrets);
        let key = made["recovery_key"].as_str().unwrap().to_owned();
        let key = KeyMaterial::Recovery(key.into());
        let vault = Vault::open(std::sync::Arc::new(store.unwrap()), &key).await;
        points_in(&vault.unwrap(), (VmId::generate(), "web01"), &days(3)).await
    };
    let copy = [
        "copy",
        "--from",
        "vault",
        "--to",
        "second",
        "--read-back",
        "all",
    ];
    let copied = run(&lab, &copy).await.ok();
    assert_eq!(copied["copied"].as_array().unwrap().len(), 3, "{copied}");
    let again = run(&lab, &copy).await.ok();
    assert!(again["copied"].as_array().unwrap().is_empty(), "{again}");

    // Another machine, which knows neither: options say how to reach both.
    let keys = ["a", "b"].map(|name| lab.path(name));
    write_private(&keys[0], made["recovery_key"].as_str().unwrap());
    write_private(&keys[1], second["recovery_key"].as_str().unwrap());
    let to_azure = stores.azure("to-");
    let elsewhere = [
        "copy",
        "--from",
        S3,
        "--to",
        AZURE,
        "--key-file",
        keys[0].to_str().unwrap(),
        "--to-key-file",
        keys[1].to_str().unwrap(),
    ];
    let args = join(&elsewhere, &s3);
    let args = join(&args, &to_azure);
    let other = Lab::without_vault();
    let none = run(&other, &args).await.ok();
    assert!(none["copied"].as_array().unwrap().is_empty(), "{none}");
    // On this one the catalog knows how, and options that would say otherwise are refused.
    run(&lab, &args).await.raises("UsageError");
    let lonely = join(&["copy", "--to", "second"], &s3);
    run(&lab, &lonely).await.raises("UsageError");

    drop(stores.moto);
    let (to, newest) = (lab.path("to"), points[2].to_string());
    let restore = [
        "restore",
        &newest,
        "--vault",
        "second",
        "--to",
        to.to_str().unwrap(),
        "--format",
        "raw",
    ];
    run(&lab, &restore).await.ok();
    let restored = std::fs::read_dir(&to).unwrap().flatten();
    let image = restored
        .map(|file| file.path())
        .find(|path| path.extension().is_some_and(|end| end == "raw"))
        .unwrap();
    let want = crate::vault_support::noise(3, 1 << 16);
    assert!(std::fs::read(image).unwrap() == want, "restored otherwise");
}
