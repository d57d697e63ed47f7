//! The real program: started, asked, stopped and killed.

#[cfg(test)]
mod api;
#[cfg(test)]
mod cluster;
#[cfg(test)]
mod commands;
#[cfg(test)]
mod disk;
#[cfg(test)]
mod embedded;
#[cfg(test)]
mod follow;
#[cfg(test)]
mod installation;
#[cfg(test)]
mod kill;
#[cfg(test)]
mod leased;
#[cfg(test)]
mod limiter;
#[cfg(test)]
mod logs;
#[cfg(test)]
mod moving;
#[cfg(test)]
mod nginx;
#[cfg(test)]
mod operator;
#[cfg(test)]
mod postgres;
#[cfg(test)]
mod refusing;
#[cfg(test)]
mod settings;
#[cfg(test)]
mod startup;
#[cfg(test)]
mod tls;
