//! What a location adds to its requests: query arguments and headers of the operator's own.

use std::rc::Rc;

use super::settings::Settings;
use crate::location::Own;
use crate::nginx::value::Value;
use crate::s3::auth::sigv4::Header;
use crate::s3::object::sorted_arguments;

/// The values of all that is added.
pub fn own_values(settings: &Settings) -> impl Iterator<Item = &Value> {
    let lists = [&settings.set_args, &settings.set_headers].into_iter().flatten();
    lists.flat_map(|list| list.iter()).map(|own| &own.value)
}

/// Names of query arguments, and the values of some.
pub type Arguments = (Rc<[Box<[u8]>]>, Box<[(usize, Value)]>);

/// The names of all query arguments that a location's requests may have, as they are signed, and which of them
/// have a value of the operator's own: the client's of that name does not count.
pub fn arguments(settings: &Settings) -> Arguments {
    let passed = settings.pass_args.clone().unwrap_or_default();
    let Some(own) = &settings.set_args else { return (passed, Box::default()) };
    let names = own.iter().map(|own| own.name.as_bytes().into());
    let names = sorted_arguments(passed.iter().cloned().chain(names).collect());
    let place = |name: &str| names.iter().position(|known| **known == *name.as_bytes());
    let own = own.iter().filter_map(|own| Some((place(&own.name)?, own.value.clone())));
    let own = own.collect();
    (names.into(), own)
}

/// The headers that are set.
pub fn headers(settings: &Settings) -> &[Own] {
    settings.set_headers.as_ref().map_or(&[], |list| list)
}

/// The headers that are set, each with its value where that is the same for all requests.
pub fn constant_headers(settings: &Settings) -> Vec<Header<'_>> {
    headers(settings).iter().map(|own| (&*own.name, own.value.constant())).collect()
}
