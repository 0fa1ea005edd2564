# An empty cache of compiled packages, as it is after they were installed.

"""
Put a temporary folder in the place of every depot that is not Julia's own, with links to all of it but `compiled`.

Julia looks for compiled packages in every depot, and hands them on to the processes in which it compiles.
"""
function forget_compiled!(depots::Vector{String})
    shipped = (abspath(Sys.BINDIR, "..", "local", "share", "julia"), abspath(Sys.BINDIR, Base.DATAROOTDIR, "julia"))
    for (place, depot) in enumerate(depots)
        abspath(depot) in shipped && continue
        depots[place] = mktempdir()
        for name in (isdir(depot) ? readdir(depot) : String[])
            name == "compiled" || symlink(abspath(depot, name), joinpath(depots[place], name))
        end
    end
    return depots
end
