//! Another module of nginx, through what it shows: its commands and its hooks.

use core::ffi::{c_void, CStr};
use core::{mem, slice};

use ngx::core::NGX_CONF_OK;
use ngx::ffi::{
    ngx_array_t, ngx_command_t, ngx_conf_t, ngx_cycle_t, ngx_http_conf_ctx_t, ngx_http_module_t,
    ngx_http_upstream_conf_t, ngx_module_t, ngx_str_t, NGX_HTTP_LOC_CONF_OFFSET,
};
use thiserror::Error;

use super::http_core::{location, module_named};
use super::{Failed, Handler};

/// Why a module's command could not be run.
#[derive(Debug, Error)]
pub enum ForeignError {
    /// nginx lacks a directive that the module needs.
    #[error("needs the directive \"{0}\", which this nginx does not have")]
    Missing(&'static str),
    /// A directive refused what was written.
    #[error("could not set \"{0}\"")]
    Refused(&'static str),
    /// nginx has logged the reason, or memory ran out.
    #[error(transparent)]
    Nginx(#[from] Failed),
}

/// Which words of a configuration a command writes, and the content handler that it sets.
#[derive(Clone)]
pub struct Footprint {
    /// The words' places.
    pub words: Box<[usize]>,
    /// The handler.
    pub handler: Option<Handler>,
}

impl Footprint {
    /// Whether any of the words differs between two configurations.
    pub fn differs(&self, one: &[usize], other: &[usize]) -> bool {
        self.words.iter().any(|&i| one[i] != other[i])
    }
}

/// A module whose configuration of locations is written through its own commands, so that only
/// their names are relied upon.
#[derive(Clone, Copy)]
pub struct Foreign {
    module: &'static ngx_module_t,
}

impl Foreign {
    /// Finds a module by its name.
    ///
    /// # Errors
    /// [`ForeignError::Missing`] with `needed`, a directive of it.
    ///
    /// # Safety
    /// The cycle's modules are complete, as they are when a configuration is read.
    pub unsafe fn find(
        cycle: *mut ngx_cycle_t,
        name: &CStr,
        needed: &'static str,
    ) -> Result<Self, ForeignError> {
        // SAFETY: the caller's promise.
        let module = unsafe { module_named(cycle, name) };
        module.map(|module| Foreign { module }).ok_or(ForeignError::Missing(needed))
    }

    /// The module's place in a location's array of configurations.
    pub fn ctx_index(self) -> usize {
        self.module.ctx_index
    }

    /// The module's directives.
    pub fn commands(self) -> impl Iterator<Item = &'static ngx_command_t> {
        let first = self.module.commands;
        // SAFETY: a module's command table ends with an empty name.
        (0..).map(move |i| unsafe { &*first.add(i) }).take_while(|c| c.name.len > 0)
    }

    /// The module's hooks.
    pub fn hooks(self) -> &'static ngx_http_module_t {
        // SAFETY: an HTTP module's ctx is its table of hooks.
        unsafe { &*self.module.ctx.cast() }
    }

    fn command(self, name: &'static str) -> Result<&'static ngx_command_t, ForeignError> {
        self.commands()
            .find(|c| c.name.as_bytes() == name.as_bytes())
            .ok_or(ForeignError::Missing(name))
    }

    /// Makes a configuration in which nothing is set.
    ///
    /// # Errors
    /// When memory ran out.
    ///
    /// # Safety
    /// `cf` is nginx's configuration context.
    pub unsafe fn create(self, cf: *mut ngx_conf_t) -> Result<*mut c_void, ForeignError> {
        // SAFETY: the hook is called as nginx does.
        let conf = self.hooks().create_loc_conf.map(|create| unsafe { create(cf) });
        conf.filter(|c| !c.is_null()).ok_or(ForeignError::Nginx(Failed))
    }

    /// Merges `conf` as nginx does with a nested block.
    ///
    /// # Errors
    /// When the module refuses what `conf` has; it logged why.
    ///
    /// # Safety
    /// Both are from [`Foreign::create`], and `cf->ctx` is the location's.
    pub unsafe fn merge(
        self,
        cf: *mut ngx_conf_t,
        prev: *mut c_void,
        conf: *mut c_void,
    ) -> Result<(), ForeignError> {
        // SAFETY: as in create(); both configurations were made by it.
        match self.hooks().merge_loc_conf.map(|merge| unsafe { merge(cf, prev, conf) }) {
            Some(NGX_CONF_OK) => Ok(()),
            _ => Err(ForeignError::Nginx(Failed)),
        }
    }

    /// Writes a directive into `conf`, as if it stood in the configuration.
    ///
    /// # Errors
    /// When there is no such directive, or it refuses the arguments.
    ///
    /// # Safety
    /// `cf->ctx` is that of the place, `conf` is the module's configuration there, and the arguments
    /// live as long as the configuration.
    pub unsafe fn set(
        self,
        cf: *mut ngx_conf_t,
        conf: *mut c_void,
        name: &'static str,
        args: &[ngx_str_t],
    ) -> Result<(), ForeignError> {
        let command = self.command(name)?;
        let mut words = vec![command.name];
        words.extend_from_slice(args);
        // SAFETY: the array is only read, while `words` lives.
        unsafe {
            let mut array: ngx_array_t = mem::zeroed();
            array.elts = words.as_mut_ptr().cast();
            array.nelts = words.len();
            array.size = mem::size_of::<ngx_str_t>();
            array.nalloc = words.len();
            let saved = mem::replace(&mut (*cf).args, &mut array);
            let command_ = (command as *const ngx_command_t).cast_mut();
            let result = command.set.map(|set| set(cf, command_, conf));
            (*cf).args = saved;
            match result {
                Some(NGX_CONF_OK) => Ok(()),
                _ => Err(ForeignError::Refused(name)),
            }
        }
    }

    /// What a command stores at its offset in `conf`.
    ///
    /// # Errors
    /// When there is no such directive.
    ///
    /// # Safety
    /// `conf` is from [`Foreign::create`], and the command stores a `T`.
    pub unsafe fn stored<T: Copy>(
        self,
        conf: *mut c_void,
        name: &'static str,
    ) -> Result<T, ForeignError> {
        let offset = self.command(name)?.offset;
        // SAFETY: the caller's promise.
        Ok(unsafe { *conf.byte_add(offset).cast() })
    }

    /// The part of a configuration that is the upstream module's, for modules that pass requests on.
    ///
    /// # Errors
    /// When the module has none.
    ///
    /// # Safety
    /// `conf` is from [`Foreign::create`]; `timeout` is the command that writes `connect_timeout`.
    pub unsafe fn upstream<'a>(
        self,
        conf: *mut c_void,
        timeout: &'static str,
    ) -> Result<&'a mut ngx_http_upstream_conf_t, ForeignError> {
        let field = mem::offset_of!(ngx_http_upstream_conf_t, connect_timeout);
        let at = self.command(timeout)?.offset.checked_sub(field).ok_or(Failed)?;
        // SAFETY: it is inside the configuration, as the command's offset tells.
        Ok(unsafe { &mut *conf.byte_add(at).cast() })
    }

    /// The configuration as words, as far as the commands' offsets prove that it reaches.
    ///
    /// # Safety
    /// `conf` is from [`Foreign::create`].
    pub unsafe fn words<'a>(self, conf: *mut c_void) -> &'a [usize] {
        let own = self.commands().filter(|c| c.conf == NGX_HTTP_LOC_CONF_OFFSET);
        let reach = own.map(|c| c.offset).max().unwrap_or(0);
        // SAFETY: a command writes at its offset, so the structure is longer than that; nginx
        // allocates it aligned and zeroed.
        unsafe { slice::from_raw_parts(conf.cast(), reach / mem::size_of::<usize>()) }
    }

    /// Learns which words of a configuration a command writes, by letting it write `trial`.
    ///
    /// # Errors
    /// When there is no such directive, or it writes nothing.
    ///
    /// # Safety
    /// `cf->ctx` is a location's.
    pub unsafe fn footprint(
        self,
        cf: *mut ngx_conf_t,
        name: &'static str,
        trial: &'static CStr,
    ) -> Result<Footprint, ForeignError> {
        // SAFETY: create() makes separate configurations, and what the trial writes into the
        // location itself is put back.
        unsafe {
            let (before, after) = (self.words(self.create(cf)?), self.create(cf)?);
            let untouched = self.words(after).to_vec();
            let core = location(&*(*cf).ctx.cast::<ngx_http_conf_ctx_t>());
            let (handler, redirect) = ((*core).handler, (*core).auto_redirect());
            self.set(cf, after, name, &[super::constant(trial.to_bytes())])?;
            let learnt = (*core).handler;
            (*core).handler = handler;
            (*core).set_auto_redirect(redirect);
            let after = self.words(after);
            let words: Box<[usize]> = (0..before.len())
                .filter(|&i| before[i] == untouched[i] && after[i] != before[i])
                .collect();
            match words.is_empty() {
                true => Err(ForeignError::Refused(name)),
                false => Ok(Footprint { words, handler: learnt }),
            }
        }
    }

    /// Takes back those words of a command's in `conf` that `which` finds.
    ///
    /// # Safety
    /// As for [`Foreign::copy`].
    pub unsafe fn clear(
        self,
        conf: *mut c_void,
        footprint: &Footprint,
        which: impl Fn(usize) -> bool,
    ) {
        // SAFETY: a footprint is inside of what words() has.
        unsafe {
            for &i in &footprint.words {
                let word = conf.cast::<usize>().add(i);
                if which(*word) {
                    *word = 0;
                }
            }
        }
    }

    /// Copies the words that a command writes from one configuration into another, but for those
    /// that `keep` does not let pass.
    ///
    /// # Safety
    /// Both are from [`Foreign::create`], and the footprint is of a command of this module.
    pub unsafe fn copy(
        self,
        from: *mut c_void,
        to: *mut c_void,
        footprint: &Footprint,
        keep: impl Fn(usize) -> bool,
    ) {
        // SAFETY: a footprint is inside of what words() has.
        unsafe {
            for &i in &footprint.words {
                let word = self.words(from)[i];
                if keep(word) {
                    *to.cast::<usize>().add(i) = word;
                }
            }
        }
    }
}
