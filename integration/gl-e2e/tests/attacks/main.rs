//! Attacks on the runtime by an image, a volume's co-tenant or the container's process.
//!
//! One file for each known flaw, named by its CVE, and for each class without a number; static
//! variants, and races in which a co-tenant swaps names while containers are created or entered.
//! Races run a few rounds, or `$GL_ROUNDS`: `hack/test --long --only attacks` runs 2000. Each test
//! runs between two snapshots of the host, see [`ground::watched`]. That each can fail is shown by
//! [`faults`], on runtimes with a flaw.

mod calls;
mod cve_2016_3697;
mod cve_2016_9962;
mod cve_2019_16884;
mod cve_2019_18837;
mod cve_2019_5736;
mod cve_2021_43784;
mod cve_2022_0492;
mod cve_2022_24769;
mod cve_2023_25809;
mod cve_2023_27561;
mod cve_2024_21626;
mod cve_2024_3154;
mod cve_2024_40635;
mod cve_2025_31133;
mod cve_2025_52565;
mod cve_2025_52881;
mod cve_2026_30892;
mod cve_2026_41579;
mod cve_2026_88264;
mod descriptors;
mod faults;
mod filters;
mod gate;
mod ground;
mod hostile;
mod links;
mod names;
mod pid_reuse;
mod rules;
mod second_look;
mod state_directory;

use std::process::ExitCode;

fn main() -> ExitCode {
    if let Some(status) = faults::helper().or_else(second_look::helper) {
        return status;
    }
    let tests = [
        cve_2016_3697::TESTS,
        cve_2016_9962::TESTS,
        cve_2019_5736::TESTS,
        cve_2019_16884::TESTS,
        cve_2019_18837::TESTS,
        cve_2021_43784::TESTS,
        cve_2022_24769::TESTS,
        cve_2023_25809::TESTS,
        cve_2023_27561::TESTS,
        cve_2024_21626::TESTS,
        cve_2024_3154::TESTS,
        cve_2025_31133::TESTS,
        cve_2025_52565::TESTS,
        cve_2025_52881::TESTS,
        cve_2026_30892::TESTS,
        cve_2026_41579::TESTS,
        cve_2026_88264::TESTS,
        cve_2022_0492::TESTS,
        cve_2024_40635::TESTS,
        descriptors::TESTS,
        names::TESTS,
        filters::TESTS,
        pid_reuse::TESTS,
        state_directory::TESTS,
        gate::TESTS,
        calls::TESTS,
        links::TESTS,
        rules::TESTS,
        second_look::TESTS,
        hostile::TESTS,
        faults::TESTS,
    ];
    let status = gl_e2e::bundle::main_around(&tests.concat(), ground::watched);
    ground::remove_victim();
    status
}
