"Say which packages this Julia would load, without loading them: that takes longer than a question should."
module Packages

Base.Experimental.@optlevel 0     # runs once: compiling costs more than it gains

export installed_version, require_framework, json_object

"Return the version of a package, or nothing where it cannot be found."
function installed_version(package)
    package === nothing && return nothing
    entry = Base.locate_package(package)
    (entry === nothing || !isfile(entry)) && return nothing
    project = joinpath(dirname(dirname(entry)), "Project.toml")
    found = isfile(project) ? match(r"^version *= *\"([^\"]+)\""m, read(project, String)) : nothing
    return found === nothing ? nothing : String(found[1])
end

"Return the version of the package `name`; end the program with one line that says why there is none."
function require_framework(name::String, manifest = active_manifest())
    version = installed_version(Base.identify_package(name))
    version === nothing || return version
    println(stderr, reason_missing(name, manifest))
    exit(1)
end

"Return why the package `name` cannot be loaded: no such project, one that was never completed, or one for another Julia."
function reason_missing(name::String, manifest)
    project = something(Base.active_project(), "of this Julia")
    (manifest === nothing || !isfile(manifest)) && return "$name is not installed in the project $project"
    content = read(manifest, String)
    made_by = match(r"^julia_version *= *\"([^\"]+)\""m, content)
    if made_by !== nothing && other_minor(String(made_by[1]))
        return "$manifest was made by Julia $(made_by[1]); this is Julia $VERSION. Delete it and install again"
    end
    occursin(Regex("^\\[\\[(deps\\.)?$name\\]\\]", "m"), content) || return "$name is not in $manifest"
    return "$name is named in $manifest and its files are not there: the installation was not completed"
end

other_minor(version::String) = (v = VersionNumber(version); (v.major, v.minor) != (VERSION.major, VERSION.minor))

"Return the Manifest beside the active project, or nothing."
function active_manifest()
    project = Base.active_project()
    return project === nothing ? nothing : joinpath(dirname(project), "Manifest.toml")
end

"Return `fields`, pairs of a name and a text, and the `devices` as one JSON object."
function json_object(fields, devices)
    pairs = ["\"$name\": \"$value\"" for (name, value) in fields]
    return "{" * join([pairs; "\"devices\": [$(join(repr.(devices), ", "))]"], ", ") * "}"
end

end
