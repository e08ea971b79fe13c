-- End tasks of a cancelled job, or of one that is being deleted, some at a time.
-- those of cancelling
-- ARGV: job, how many
-- Returns how many are left.
-- needs: keys turns entries counts events parking replies endings cancelling
local lane = lane_of(ARGV[1])
if not lane or (lane.state ~= 'cancelled' and lane.state ~= 'deleting') then return 0 end
return cancel_some(ARGV[1], lane, ARGV[2])
