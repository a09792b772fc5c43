mod damage;
mod files;
mod model;
mod records;
mod samples;
